"""The Helm chart, which is generated from the Kubernetes manifests."""
