"""The HTTP gateway to Coze."""
