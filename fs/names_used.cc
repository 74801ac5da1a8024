// --trace-files: the broker is told of each name of the image that the machine finds, so that an image of no
// more than these can be made (`teacup pack --slim`). A name is told when it enters the cache of names,
// directories and links on the way too: so a trip to the broker for each file, not for each call; one that
// was dropped from the cache and is found again is told again.
#include "fs/layer_fs.h"
#include "fs/vfs_internal.h"
#include "fs/vfs_state.h"
#include "kernel/abi/boot.h"
#include "kernel/sync/doorbell.h"

namespace teacup::fs {

void name_found(Dentry& dentry) {
  VfsState& state = vfs_state();
  if (!state.tells_names.load(std::memory_order_relaxed) || !state.root) return;
  Inode* inode = dentry.inode();
  if (inode == nullptr || &inode->file_system() != &state.root->file_system()) return;
  if (!static_cast<LayerInode*>(inode)->has_below()) return;
  auto storage = HeapArray<char>::create(abi::kPATH_MAX);
  if (!storage.ok()) return;
  TextBuffer text({storage.value().data(), storage.value().size()});
  Path root(state.root, Ref<Dentry>::share(&state.root->root()));
  if (!path_text(Path(state.root, Ref<Dentry>::share(&dentry)), root, text).ok()) return;
  (void)ring_call(abi::RingOp::kMessage, reinterpret_cast<u64>(storage.value().data()) - kArenaBase,
                  text.length(), abi::kFileMessage);
}

}  // namespace teacup::fs
