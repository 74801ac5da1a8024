// Files by java.nio and java.io: trees, attributes, mappings, locks, watching; processes and their streams.
import java.io.*;
import java.nio.*;
import java.nio.channels.*;
import java.nio.file.*;
import java.nio.file.attribute.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;
import java.util.zip.*;

public class FileTree {
  public static void main(String[] arguments) throws Exception {
    Path folder = Files.createTempDirectory("files");
    for (int i = 0; i < 50; i++) Files.writeString(folder.resolve("f" + i), "x".repeat(i));
    try (Stream<Path> walk = Files.walk(folder)) { System.out.println("walk " + walk.filter(Files::isRegularFile).count()); }
    Path file = folder.resolve("mapped");
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
      MappedByteBuffer map = channel.map(FileChannel.MapMode.READ_WRITE, 0, 1 << 20);
      for (int i = 0; i < 1 << 20; i += 4096) map.putInt(i, i);
      map.force();
      ByteBuffer four = ByteBuffer.allocate(4);
      channel.read(four, 8192);
      System.out.println("mapped " + four.flip().getInt() + " " + channel.size());
      try (FileLock lock = channel.lock(0, 10, false)) { System.out.println("locked " + lock.isValid()); }
      System.out.println("sent " + channel.transferTo(0, 1 << 20, FileChannel.open(folder.resolve("copy"), StandardOpenOption.CREATE, StandardOpenOption.WRITE)));
    }
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-r-----"));
    System.out.println(PosixFilePermissions.toString(Files.getPosixFilePermissions(file)));
    Files.setLastModifiedTime(file, FileTime.fromMillis(123456789000L));
    System.out.println(Files.getLastModifiedTime(file).toMillis());
    Files.createSymbolicLink(folder.resolve("link"), Path.of("mapped"));
    Files.createLink(folder.resolve("hard"), file);
    System.out.println(Files.isSameFile(folder.resolve("link"), folder.resolve("hard")) + " " + Files.getAttribute(file, "unix:nlink"));
    Files.move(folder.resolve("copy"), folder.resolve("f0"), StandardCopyOption.ATOMIC_MOVE);
    try { Files.createFile(file); } catch (FileAlreadyExistsException e) { System.out.println("exists"); }
    try { Files.delete(folder); } catch (DirectoryNotEmptyException e) { System.out.println("not empty"); }
    try (WatchService watch = folder.getFileSystem().newWatchService()) {
      folder.register(watch, StandardWatchEventKinds.ENTRY_CREATE);
      Files.writeString(folder.resolve("watched"), "1");
      WatchKey key = watch.poll(20, TimeUnit.SECONDS);
      System.out.println(key.pollEvents().get(0).context());
    }
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (GZIPOutputStream zip = new GZIPOutputStream(bytes)) { zip.write(new byte[1000000]); }
    System.out.println(new GZIPInputStream(new ByteArrayInputStream(bytes.toByteArray())).readAllBytes().length);
    try (ZipOutputStream zip = new ZipOutputStream(new FileOutputStream(folder.resolve("z.zip").toFile()))) {
      for (int i = 0; i < 20; i++) { zip.putNextEntry(new ZipEntry("e" + i)); zip.write(i); zip.closeEntry(); }
    }
    try (ZipFile zip = new ZipFile(folder.resolve("z.zip").toFile())) { System.out.println("zip " + zip.size()); }

    Process shell = new ProcessBuilder("sh", "-c", "read line; echo got $line; echo bad >&2; exit 3").redirectErrorStream(true).start();
    shell.outputWriter().append("this\n").close();
    System.out.println(new String(shell.getInputStream().readAllBytes()).replace("\n", " ") + shell.waitFor());
    Process sleeper = new ProcessBuilder("sleep", "100").start();
    System.out.println("alive " + sleeper.isAlive() + " " + sleeper.toHandle().supportsNormalTermination());
    sleeper.destroy();
    System.out.println("ended " + sleeper.waitFor());
    List<Process> many = new ArrayList<>();
    for (int i = 0; i < 30; i++) many.add(new ProcessBuilder("sh", "-c", "exit " + i).start());
    int sum = 0;
    for (Process p : many) sum += p.waitFor();
    System.out.println("many " + sum);
    try { new ProcessBuilder("/no/such/program").start(); } catch (IOException e) { System.out.println(e.getMessage()); }
    try (Stream<Path> walk = Files.walk(folder)) { walk.sorted(Comparator.reverseOrder()).forEach(p -> p.toFile().delete()); }
    System.out.println("gone " + !Files.exists(folder));
  }
}
