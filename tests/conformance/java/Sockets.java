// Servers and clients by blocking and by selected channels: on the loopback (tcp) or a socket of the file system (unix).
import java.io.*;
import java.net.*;
import java.nio.*;
import java.nio.channels.*;
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.atomic.*;

public class Sockets {
  public static void main(String[] arguments) throws Exception {
    boolean unix = arguments[0].equals("unix");
    if (unix) Files.deleteIfExists(Path.of("/tmp/java.socket"));
    SocketAddress address = unix ? UnixDomainSocketAddress.of("/tmp/java.socket") : new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
    ServerSocketChannel server = ServerSocketChannel.open(unix ? StandardProtocolFamily.UNIX : StandardProtocolFamily.INET);
    server.bind(address);
    SocketAddress bound = server.getLocalAddress();
    server.configureBlocking(false);
    Selector selector = Selector.open();
    server.register(selector, SelectionKey.OP_ACCEPT);
    AtomicBoolean end = new AtomicBoolean();
    AtomicInteger accepted = new AtomicInteger();
    Thread echo = new Thread(() -> {
      ByteBuffer buffer = ByteBuffer.allocate(65536);
      try {
        while (!end.get()) {
          selector.select();
          for (Iterator<SelectionKey> keys = selector.selectedKeys().iterator(); keys.hasNext();) {
            SelectionKey key = keys.next();
            keys.remove();
            if (key.isAcceptable()) {
              SocketChannel client = server.accept();
              accepted.incrementAndGet();
              client.configureBlocking(false);
              client.register(selector, SelectionKey.OP_READ);
            } else if (key.isReadable()) {
              SocketChannel client = (SocketChannel) key.channel();
              buffer.clear();
              if (client.read(buffer) < 0) { client.close(); continue; }
              buffer.flip();
              while (buffer.hasRemaining()) client.write(buffer);
            }
          }
        }
      } catch (IOException e) { throw new UncheckedIOException(e); }
    });
    echo.start();
    AtomicLong total = new AtomicLong();
    Thread[] clients = new Thread[20];
    for (int i = 0; i < clients.length; i++) {
      clients[i] = new Thread(() -> {
        try (SocketChannel channel = SocketChannel.open(bound)) {
          ByteBuffer out = ByteBuffer.allocate(5000), in = ByteBuffer.allocate(5000);
          for (int j = 0; j < 50; j++) {
            out.clear();
            while (out.hasRemaining()) channel.write(out);
            in.clear();
            while (in.hasRemaining()) channel.read(in);
            total.addAndGet(in.position());
          }
        } catch (IOException e) { throw new UncheckedIOException(e); }
      });
      clients[i].start();
    }
    for (Thread t : clients) t.join();
    end.set(true);
    selector.wakeup();
    echo.join();
    selector.close();
    server.close();
    System.out.println("echoed " + total + " for " + accepted);
    try { SocketChannel.open(bound); } catch (IOException e) { System.out.println("refused"); }
    if (!unix) {
      try (DatagramSocket one = new DatagramSocket(0, InetAddress.getLoopbackAddress()); DatagramSocket two = new DatagramSocket()) {
        two.send(new DatagramPacket(new byte[100], 100, one.getLocalSocketAddress()));
        DatagramPacket packet = new DatagramPacket(new byte[200], 200);
        one.receive(packet);
        System.out.println("datagram " + packet.getLength());
      }
    }
  }
}
