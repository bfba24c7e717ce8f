"""The HTTP routes, a file a resource. What every request passes first lies beside this folder."""
