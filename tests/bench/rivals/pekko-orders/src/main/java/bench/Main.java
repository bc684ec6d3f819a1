package bench;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import org.apache.pekko.actor.typed.ActorSystem;
import org.apache.pekko.actor.typed.javadsl.Behaviors;

/**
 * Says `ready`, then answers each line of standard input with a line of JSON, so that a warm process can rest while
 * another is measured: `round COUNT IN_FLIGHT ORDERS`, or `tail COMMANDS_A_SECOND SECONDS`. Ends with its input.
 */
public final class Main {

  private Main() {}

  public static void main(String[] arguments) throws Exception {
    ActorSystem<Void> system = ActorSystem.create(Behaviors.empty(), "bench");
    Orders orders = new Orders(system);
    Round round = new Round(orders);
    Tail tail = new Tail(system, orders);
    System.out.println("ready");
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
    for (String line; (line = lines.readLine()) != null; ) {
      String[] words = line.split(" ");
      System.out.println(
          words[0].equals("tail")
              ? tail.run(number(words[1]), number(words[2]))
              : round.run(number(words[1]), number(words[2]), number(words[3])));
    }
    System.exit(0);
  }

  private static int number(String word) {
    return Integer.parseInt(word);
  }
}
