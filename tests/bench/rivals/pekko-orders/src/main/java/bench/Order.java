package bench;

import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import org.apache.pekko.actor.typed.ActorRef;
import org.apache.pekko.cluster.sharding.typed.javadsl.EntityTypeKey;
import org.apache.pekko.persistence.typed.PersistenceId;
import org.apache.pekko.persistence.typed.javadsl.CommandHandler;
import org.apache.pekko.persistence.typed.javadsl.EventHandler;
import org.apache.pekko.persistence.typed.javadsl.EventSourcedBehavior;
import org.apache.pekko.persistence.typed.javadsl.RetentionCriteria;

/** An order to which lines are added. Its events carry a tag, so that there is a view to tail: one of eight. */
public class Order extends EventSourcedBehavior<Order.AddLine, Order.LineAdded, Order.State> {

  static final EntityTypeKey<AddLine> KEY = EntityTypeKey.create(AddLine.class, "Order");
  static final int TAGS = 8;
  private static final int EVENTS_BETWEEN_SNAPSHOTS = 100;

  public interface Json {}

  public static class AddLine implements Json {
    public String sku;
    public String description;
    public int quantity;
    public long unitPrice;
    public ActorRef<Integer> replyTo;

    public AddLine() {}

    AddLine(String sku, ActorRef<Integer> replyTo) {
      this.sku = sku;
      this.description = "WHITE HANGING HEART T-LIGHT HOLDER";
      this.quantity = 6;
      this.unitPrice = 25500;
      this.replyTo = replyTo;
    }
  }

  public static class LineAdded implements Json {
    public String sku;
    public String description;
    public int quantity;
    public long unitPrice;

    public LineAdded() {}

    LineAdded(AddLine command) {
      sku = command.sku;
      description = command.description;
      quantity = command.quantity;
      unitPrice = command.unitPrice;
    }
  }

  public static class State implements Json {
    public Map<String, Integer> lines = new HashMap<>();
    public long total;
    public int events;
  }

  private final String id;

  Order(String id) {
    super(PersistenceId.of("Order", id));
    this.id = id;
  }

  static String tag(int number) {
    return "order-" + number;
  }

  @Override
  public State emptyState() {
    return new State();
  }

  @Override
  public Set<String> tagsFor(LineAdded event) {
    return Set.of(tag(Math.floorMod(id.hashCode(), TAGS)));
  }

  @Override
  public RetentionCriteria retentionCriteria() {
    return RetentionCriteria.snapshotEvery(EVENTS_BETWEEN_SNAPSHOTS, 2);
  }

  @Override
  public CommandHandler<AddLine, LineAdded, State> commandHandler() {
    return newCommandHandlerBuilder()
        .forAnyState()
        .onCommand(
            AddLine.class,
            (state, command) ->
                Effect().persist(new LineAdded(command)).thenReply(command.replyTo, after -> after.events))
        .build();
  }

  @Override
  public EventHandler<State, LineAdded> eventHandler() {
    return newEventHandlerBuilder()
        .forAnyState()
        .onAnyEvent(
            (state, event) -> {
              state.lines.merge(event.sku, event.quantity, Integer::sum);
              state.total += event.quantity * event.unitPrice;
              state.events++;
              return state;
            });
  }
}
