#include "host/importer/importer.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <csignal>

#include "host/importer/worker.h"
#include "images/ext4_writer.h"
#include "tests/unit/importer/ask.h"

namespace teacup::importer {
namespace {

Server server_of(Importer& importer) {
  return [&importer](const abi::ImporterRequest& r, std::string_view name, std::span<std::byte> response) {
    std::string bytes(reinterpret_cast<const char*>(&r), sizeof(r));
    bytes += name;
    return importer.serve(std::as_bytes(std::span(bytes)), response);
  };
}

class ImporterTest : public testing::Test {
 protected:
  void SetUp() override {
    images::Tree tree;
    auto spool = std::make_shared<images::Spool>();
    for (int i = 0; i < 5000; ++i) tree.insert("d/f" + std::to_string(i), images::file_node(*spool, "text"));
    write_ext4(tree, scratch / "image", {});
    std::ofstream(scratch / "noise") << pattern(100000, 1);
    images_[0] = ::open((scratch / "image").c_str(), O_RDONLY | O_CLOEXEC);
    images_[1] = ::open((scratch / "noise").c_str(), O_RDONLY | O_CLOEXEC);
    std::string error;
    importer_ = Importer::start(images_, error);
    ASSERT_NE(importer_, nullptr) << error;
  }
  void TearDown() override {
    const pid_t pid = importer_->pid();
    importer_.reset();
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    for (const int fd : images_) ::close(fd);
  }
  // The worker's pid, from its supervisor's only child.
  pid_t worker() const {
    const std::string pid = std::to_string(importer_->pid());
    return static_cast<pid_t>(
        std::atoi(images::slurp("/proc/" + pid + "/task/" + pid + "/children").c_str()));
  }

  const Scratch scratch;
  int images_[2];
  std::unique_ptr<Importer> importer_;
};

TEST_F(ImporterTest, ServesAndRefuses) {
  const Server server = server_of(*importer_);
  EXPECT_EQ(importer_->problem(0), "");
  EXPECT_NE(importer_->problem(1), "");
  EXPECT_EQ(list(server, find(server, "d")).size(), 5002u);
  EXPECT_EQ(content(server, find(server, "d/f4999")), "text");
  auto noise = request(abi::ImporterOp::kInode, 2);
  noise.image = 1;
  EXPECT_EQ(Answer(server, noise).result, -EUCLEAN);
  noise.image = 2;
  EXPECT_EQ(Answer(server, noise).result, -ENOENT);
  auto lie = request(abi::ImporterOp::kLookup, 2);
  lie.name_length = 200;
  EXPECT_EQ(Answer(server, lie, "short").result, -EINVAL);
  lie.name_length = 256;
  EXPECT_EQ(Answer(server, lie, std::string(256, 'x')).result, -EINVAL);
  std::byte few[10] = {};
  EXPECT_EQ(importer_->serve(few, {}), -EINVAL);
}

TEST_F(ImporterTest, SurvivesTheWorkersDeath) {
  const Server server = server_of(*importer_);
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(content(server, find(server, "d/f1")), "text");
    const pid_t first = worker();
    ASSERT_GT(first, 0);
    ASSERT_EQ(::kill(first, SIGSEGV), 0);
    while (worker() == first || worker() <= 0) ::usleep(1000);
  }
  const u64 directory = find(server, "d");
  // At any moment of a call: it fails or is answered by the next worker, and never waits for ever.
  const pid_t killer = ::fork();
  if (killer == 0) {
    for (int i = 0; i < 20; ++i) {
      if (const pid_t victim = worker(); victim > 0) ::kill(victim, SIGKILL);
      ::usleep(3000);
    }
    ::_exit(0);
  }
  while (::waitpid(killer, nullptr, WNOHANG) == 0) {
    const s64 result = Answer(server, request(abi::ImporterOp::kReadDirectory, directory)).result;
    ASSERT_TRUE(result > 0 || result == -EIO) << result;
  }
  // The last death may still be under way.
  for (int i = 0; i < 60'000 && Answer(server, request(abi::ImporterOp::kInode, 2)).result == -EIO; ++i) {
    ::usleep(1000);
  }
  EXPECT_EQ(content(server, find(server, "d/f1")), "text");
}

TEST_F(ImporterTest, EndsWithItsBroker) {
  (void)importer_->problem(0);
  const pid_t child = worker();
  ASSERT_EQ(::kill(importer_->pid(), SIGKILL), 0);
  // Gone, or waiting for whoever adopted it to collect it.
  const auto alive = [&] {
    const std::string status = images::slurp("/proc/" + std::to_string(child) + "/stat");
    return !status.empty() && status.find(") Z ") == status.npos;
  };
  for (int i = 0; i < 60'000 && alive(); ++i) ::usleep(1000);
  EXPECT_FALSE(alive());
  EXPECT_EQ(Answer(server_of(*importer_), request(abi::ImporterOp::kInode, 2)).result, -EIO);
}

// Each does something the filter must not let through; the signal says that it did not.
TEST(ImporterSandbox, LeavesNothingButReading) {
  int sockets[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets), 0);
  const int file = ::open("/etc/passwd", O_RDONLY);
  const auto signal_of = [&](const std::function<void()>& act) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      if (!enter_sandbox(sockets[1])) ::_exit(1);
      act();
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
  };
  char byte;
  EXPECT_EQ(signal_of([&] { (void)!::pread(file, &byte, 1, 0); }), 0);
  EXPECT_EQ(signal_of([&] { (void)!::write(sockets[1], "x", 1); }), 0);
  EXPECT_EQ(signal_of([&] { std::string big(10 * MiB, 'x'); }), 0);
  EXPECT_EQ(signal_of([&] { (void)!::open("/etc/passwd", O_RDONLY); }), SIGSYS);
  EXPECT_EQ(signal_of([&] { (void)!::read(file, &byte, 1); }), SIGSYS);
  EXPECT_EQ(signal_of([&] { (void)!::write(2, "x", 1); }), SIGSYS);
  EXPECT_EQ(signal_of([&] { (void)::socket(AF_INET, SOCK_STREAM, 0); }), SIGSYS);
  EXPECT_EQ(signal_of([&] { (void)::fork(); }), SIGSYS);
  EXPECT_EQ(signal_of([&] { ::kill(::getppid(), 0); }), SIGSYS);
  EXPECT_EQ(signal_of([&] { ::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, file, 0); }), SIGSYS);
  EXPECT_EQ(
      signal_of([&] { ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }),
      SIGSYS);
  ::close(file);
  ::close(sockets[0]);
  ::close(sockets[1]);
}

}  // namespace
}  // namespace teacup::importer
