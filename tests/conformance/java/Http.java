// The JDK's own server (jdk.httpserver) and its client (java.net.http) over loopback: one after another and at once, bodies
// both ways, a time-out, a client that leaves, a web socket that is refused.
import com.sun.net.httpserver.*;
import java.io.*;
import java.net.*;
import java.net.http.*;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;

public class Http {
  static void answer(HttpExchange exchange, int status, byte[] body) throws IOException {
    exchange.sendResponseHeaders(status, body.length == 0 ? -1 : body.length);
    try (OutputStream out = exchange.getResponseBody()) { out.write(body); }
  }

  static String causes(Throwable error) {
    List<String> names = new ArrayList<>();
    for (; error != null; error = error.getCause()) names.add(error.getClass().getSimpleName());
    return names.get(0);
  }

  public static void main(String[] arguments) throws Exception {
    HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 100);
    ExecutorService workers = Executors.newFixedThreadPool(8);
    CountDownLatch go = new CountDownLatch(1);
    server.setExecutor(workers);
    server.createContext("/hello", e -> answer(e, 200, ("hello " + e.getRequestURI().getQuery()).getBytes()));
    server.createContext("/size", e -> answer(e, 200, String.valueOf(e.getRequestBody().readAllBytes().length).getBytes()));
    server.createContext("/big", e -> answer(e, 200, new byte[5_000_000]));
    server.createContext("/moved", e -> { e.getResponseHeaders().set("Location", "/hello?moved"); answer(e, 302, new byte[0]); });
    server.createContext("/late", e -> {
      try { go.await(); } catch (InterruptedException i) { }
      answer(e, 200, new byte[0]);
    });
    server.createContext("/chunks", e -> {
      e.sendResponseHeaders(200, 0);
      try (OutputStream out = e.getResponseBody()) {
        for (int i = 0; i < 100; i++) { out.write(new byte[1000 + i]); out.flush(); }
      }
    });
    server.start();
    String base = "http://localhost:" + server.getAddress().getPort();
    HttpClient client = HttpClient.newBuilder().followRedirects(HttpClient.Redirect.NORMAL).connectTimeout(Duration.ofSeconds(20)).build();
    HttpRequest.Builder to = HttpRequest.newBuilder();
    System.out.println(client.send(to.copy().uri(URI.create(base + "/hello?one")).build(), BodyHandlers.ofString()).body());
    System.out.println(client.send(to.copy().uri(URI.create(base + "/moved")).build(), BodyHandlers.ofString()).body());
    System.out.println(client.send(to.copy().uri(URI.create(base + "/big")).build(), BodyHandlers.ofByteArray()).body().length);
    System.out.println(client.send(to.copy().uri(URI.create(base + "/chunks")).build(), BodyHandlers.ofByteArray()).body().length);
    System.out.println(client.send(to.copy().uri(URI.create(base + "/none")).build(), BodyHandlers.discarding()).statusCode());
    System.out.println(client.send(to.copy().uri(URI.create(base + "/size"))
        .POST(HttpRequest.BodyPublishers.ofByteArray(new byte[3_000_000])).build(), BodyHandlers.ofString()).body());
    List<CompletableFuture<String>> answers = IntStream.range(0, 300).mapToObj(i -> client
        .sendAsync(to.copy().uri(URI.create(base + "/hello?" + i)).build(), BodyHandlers.ofString()).thenApply(HttpResponse::body))
        .collect(Collectors.toList());
    int right = 0;
    for (int i = 0; i < answers.size(); i++) if (answers.get(i).get().equals("hello " + i)) right++;
    System.out.println(right + " right");
    try {
      client.send(to.copy().uri(URI.create(base + "/late")).timeout(Duration.ofMillis(200)).build(), BodyHandlers.discarding());
    } catch (IOException e) { System.out.println(causes(e)); }
    go.countDown();
    try {
      client.newWebSocketBuilder().buildAsync(URI.create("ws://localhost:" + server.getAddress().getPort() + "/hello?x"), new WebSocket.Listener() { }).get();
    } catch (ExecutionException e) { System.out.println(causes(e.getCause())); }
    try (Socket gone = new Socket("localhost", server.getAddress().getPort())) {
      gone.getOutputStream().write("GET /big HTTP/1.1\r\nHost: x\r\n\r\n".getBytes());
      gone.getInputStream().read();
      gone.setSoLinger(true, 0);
    }
    System.out.println(client.send(to.copy().uri(URI.create(base + "/hello?still")).build(), BodyHandlers.ofString()).body());
    server.stop(0);
    workers.shutdown();
    try {
      client.send(to.copy().uri(URI.create(base + "/hello?late")).build(), BodyHandlers.ofString());
    } catch (IOException e) { System.out.println(causes(e)); }
    System.exit(0);
  }
}
