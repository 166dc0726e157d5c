"""Attribution: the pixels that a class score depends on, one method per module; and metrics of attributions."""
