"""Callers of the API: keys of tenants, and an application in the process of the test."""

from typing import Any

from flask.testing import FlaskClient

from api.app import create_app
from archetype.client import Client
from archetype.contract.api_key import NewKey
from deploy.local import Stack


def issue_token(operator: Client, tenant: str, **changes: Any) -> str:
    return operator.issue_key(NewKey(tenant=tenant, **changes)).token


def make_app_client(stack: Stack, **changes: Any) -> FlaskClient:
    """A client of an application with the stack's settings, some of them changed."""
    return create_app(stack.settings.model_copy(update=changes)).test_client()
