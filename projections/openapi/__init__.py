"""The OpenAPI document of an app, made of what its views say of themselves, and the page that shows it."""
