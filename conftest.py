"""pytester, for the plugin's own tests: pytest wants it named in the root conftest."""

pytest_plugins = ["pytester"]
