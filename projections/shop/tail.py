"""The shop's tail, where it is to run apart from the tables: `faust -A projections.shop.tail worker`."""

from projections.shop.wiring import contexts_of
from projections.tail_app import tail_app
from streams.runtime.preparation import stop_on_user_error
from streams.settings import Settings

with stop_on_user_error():
    settings = Settings.from_environment(database="shop")
    app = tail_app(__name__, settings, contexts_of(settings))
