"""The domain: pure deciders, free of Kafka, Cassandra and Faust. `shop` is the example, all else is the engine's."""

from aggregates.decider import Decider, Rejected
from aggregates.digits import Digits
from aggregates.principal import Principal
from aggregates.process_manager import ForeignEvent, ProcessManager, Reaction, Send
from aggregates.specification import given

__all__ = ["Decider", "Digits", "ForeignEvent", "Principal", "ProcessManager", "Reaction", "Rejected", "Send", "given"]
