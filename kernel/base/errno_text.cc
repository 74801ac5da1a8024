#include "kernel/base/errno.h"

namespace teacup {

const char* errno_text(Errno error) {
  switch (error) {
    case Errno::OK:
      return "Success";
    case Errno::PERM:
      return "Operation not permitted";
    case Errno::NOENT:
      return "No such file or directory";
    case Errno::SRCH:
      return "No such process";
    case Errno::INTR:
      return "Interrupted system call";
    case Errno::IO:
      return "Input/output error";
    case Errno::NXIO:
      return "No such device or address";
    case Errno::TOO_BIG:
      return "Argument list too long";
    case Errno::NOEXEC:
      return "Exec format error";
    case Errno::BADF:
      return "Bad file descriptor";
    case Errno::CHILD:
      return "No child processes";
    case Errno::AGAIN:
      return "Resource temporarily unavailable";
    case Errno::NOMEM:
      return "Cannot allocate memory";
    case Errno::ACCES:
      return "Permission denied";
    case Errno::FAULT:
      return "Bad address";
    case Errno::NOTBLK:
      return "Block device required";
    case Errno::BUSY:
      return "Device or resource busy";
    case Errno::EXIST:
      return "File exists";
    case Errno::XDEV:
      return "Invalid cross-device link";
    case Errno::NODEV:
      return "No such device";
    case Errno::NOTDIR:
      return "Not a directory";
    case Errno::ISDIR:
      return "Is a directory";
    case Errno::INVAL:
      return "Invalid argument";
    case Errno::NFILE:
      return "Too many open files in system";
    case Errno::MFILE:
      return "Too many open files";
    case Errno::NOTTY:
      return "Inappropriate ioctl for device";
    case Errno::TXTBSY:
      return "Text file busy";
    case Errno::FBIG:
      return "File too large";
    case Errno::NOSPC:
      return "No space left on device";
    case Errno::SPIPE:
      return "Illegal seek";
    case Errno::ROFS:
      return "Read-only file system";
    case Errno::MLINK:
      return "Too many links";
    case Errno::PIPE:
      return "Broken pipe";
    case Errno::DOM:
      return "Numerical argument out of domain";
    case Errno::RANGE:
      return "Numerical result out of range";
    case Errno::DEADLK:
      return "Resource deadlock avoided";
    case Errno::NAMETOOLONG:
      return "File name too long";
    case Errno::NOLCK:
      return "No locks available";
    case Errno::NOSYS:
      return "Function not implemented";
    case Errno::NOTEMPTY:
      return "Directory not empty";
    case Errno::LOOP:
      return "Too many levels of symbolic links";
    case Errno::NOMSG:
      return "No message of desired type";
    case Errno::IDRM:
      return "Identifier removed";
    case Errno::CHRNG:
      return "Channel number out of range";
    case Errno::L2NSYNC:
      return "Level 2 not synchronized";
    case Errno::L3HLT:
      return "Level 3 halted";
    case Errno::L3RST:
      return "Level 3 reset";
    case Errno::LNRNG:
      return "Link number out of range";
    case Errno::UNATCH:
      return "Protocol driver not attached";
    case Errno::NOCSI:
      return "No CSI structure available";
    case Errno::L2HLT:
      return "Level 2 halted";
    case Errno::BADE:
      return "Invalid exchange";
    case Errno::BADR:
      return "Invalid request descriptor";
    case Errno::XFULL:
      return "Exchange full";
    case Errno::NOANO:
      return "No anode";
    case Errno::BADRQC:
      return "Invalid request code";
    case Errno::BADSLT:
      return "Invalid slot";
    case Errno::BFONT:
      return "Bad font file format";
    case Errno::NOSTR:
      return "Device not a stream";
    case Errno::NODATA:
      return "No data available";
    case Errno::TIME:
      return "Timer expired";
    case Errno::NOSR:
      return "Out of streams resources";
    case Errno::NONET:
      return "Machine is not on the network";
    case Errno::NOPKG:
      return "Package not installed";
    case Errno::REMOTE:
      return "Object is remote";
    case Errno::NOLINK:
      return "Link has been severed";
    case Errno::ADV:
      return "Advertise error";
    case Errno::SRMNT:
      return "Srmount error";
    case Errno::COMM:
      return "Communication error on send";
    case Errno::PROTO:
      return "Protocol error";
    case Errno::MULTIHOP:
      return "Multihop attempted";
    case Errno::DOTDOT:
      return "RFS specific error";
    case Errno::BADMSG:
      return "Bad message";
    case Errno::OVERFLOW:
      return "Value too large for defined data type";
    case Errno::NOTUNIQ:
      return "Name not unique on network";
    case Errno::BADFD:
      return "File descriptor in bad state";
    case Errno::REMCHG:
      return "Remote address changed";
    case Errno::LIBACC:
      return "Can not access a needed shared library";
    case Errno::LIBBAD:
      return "Accessing a corrupted shared library";
    case Errno::LIBSCN:
      return ".lib section in a.out corrupted";
    case Errno::LIBMAX:
      return "Attempting to link in too many shared libraries";
    case Errno::LIBEXEC:
      return "Cannot exec a shared library directly";
    case Errno::ILSEQ:
      return "Invalid or incomplete multibyte or wide character";
    case Errno::RESTART:
      return "Interrupted system call should be restarted";
    case Errno::STRPIPE:
      return "Streams pipe error";
    case Errno::USERS:
      return "Too many users";
    case Errno::NOTSOCK:
      return "Socket operation on non-socket";
    case Errno::DESTADDRREQ:
      return "Destination address required";
    case Errno::MSGSIZE:
      return "Message too long";
    case Errno::PROTOTYPE:
      return "Protocol wrong type for socket";
    case Errno::NOPROTOOPT:
      return "Protocol not available";
    case Errno::PROTONOSUPPORT:
      return "Protocol not supported";
    case Errno::SOCKTNOSUPPORT:
      return "Socket type not supported";
    case Errno::NOTSUP:
      return "Operation not supported";
    case Errno::PFNOSUPPORT:
      return "Protocol family not supported";
    case Errno::AFNOSUPPORT:
      return "Address family not supported by protocol";
    case Errno::ADDRINUSE:
      return "Address already in use";
    case Errno::ADDRNOTAVAIL:
      return "Cannot assign requested address";
    case Errno::NETDOWN:
      return "Network is down";
    case Errno::NETUNREACH:
      return "Network is unreachable";
    case Errno::NETRESET:
      return "Network dropped connection on reset";
    case Errno::CONNABORTED:
      return "Software caused connection abort";
    case Errno::CONNRESET:
      return "Connection reset by peer";
    case Errno::NOBUFS:
      return "No buffer space available";
    case Errno::ISCONN:
      return "Transport endpoint is already connected";
    case Errno::NOTCONN:
      return "Transport endpoint is not connected";
    case Errno::SHUTDOWN:
      return "Cannot send after transport endpoint shutdown";
    case Errno::TOOMANYREFS:
      return "Too many references: cannot splice";
    case Errno::TIMEDOUT:
      return "Connection timed out";
    case Errno::CONNREFUSED:
      return "Connection refused";
    case Errno::HOSTDOWN:
      return "Host is down";
    case Errno::HOSTUNREACH:
      return "No route to host";
    case Errno::ALREADY:
      return "Operation already in progress";
    case Errno::INPROGRESS:
      return "Operation now in progress";
    case Errno::STALE:
      return "Stale file handle";
    case Errno::UCLEAN:
      return "Structure needs cleaning";
    case Errno::NOTNAM:
      return "Not a XENIX named type file";
    case Errno::NAVAIL:
      return "No XENIX semaphores available";
    case Errno::ISNAM:
      return "Is a named type file";
    case Errno::REMOTEIO:
      return "Remote I/O error";
    case Errno::DQUOT:
      return "Disk quota exceeded";
    case Errno::NOMEDIUM:
      return "No medium found";
    case Errno::MEDIUMTYPE:
      return "Wrong medium type";
    case Errno::CANCELED:
      return "Operation canceled";
    case Errno::NOKEY:
      return "Required key not available";
    case Errno::KEYEXPIRED:
      return "Key has expired";
    case Errno::KEYREVOKED:
      return "Key has been revoked";
    case Errno::KEYREJECTED:
      return "Key was rejected by service";
    case Errno::OWNERDEAD:
      return "Owner died";
    case Errno::NOTRECOVERABLE:
      return "State not recoverable";
    case Errno::RFKILL:
      return "Operation not possible due to RF-kill";
    case Errno::RESTARTSYS:
      return "To be restarted if SA_RESTART is set";
    case Errno::RESTARTNOINTR:
      return "To be restarted";
    case Errno::RESTARTNOHAND:
      return "To be restarted if no handler";
    case Errno::RESTART_RESTARTBLOCK:
      return "Interrupted by signal";
    case Errno::OVERTAKEN:
      return "To be looked up again";
  }
  return "Unknown error";
}

}  // namespace teacup
