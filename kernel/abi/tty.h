// Terminals: struct termios and friends as the ioctls see them, and their numbers (asm-generic/termbits.h,
// asm-generic/ioctls.h, ioctl_tty(2)).
#pragma once

#include "kernel/base/types.h"

namespace teacup::abi {

// c_iflag
inline constexpr u32 kIGNBRK = 01, kBRKINT = 02, kIGNPAR = 04, kPARMRK = 010, kINPCK = 020, kISTRIP = 040;
inline constexpr u32 kINLCR = 0100, kIGNCR = 0200, kICRNL = 0400, kIUCLC = 01000, kIXON = 02000;
inline constexpr u32 kIXANY = 04000, kIXOFF = 010000, kIMAXBEL = 020000, kIUTF8 = 040000;
// c_oflag
inline constexpr u32 kOPOST = 01, kOLCUC = 02, kONLCR = 04, kOCRNL = 010, kONOCR = 020, kONLRET = 040;
inline constexpr u32 kTABDLY = 014000, kTAB3 = 014000;
// c_cflag
inline constexpr u32 kCBAUD = 010017, kB38400 = 017, kCSIZE = 060, kCS8 = 060, kCREAD = 0200, kPARENB = 0400;
inline constexpr u32 kHUPCL = 02000, kCLOCAL = 04000;
// c_lflag
inline constexpr u32 kISIG = 01, kICANON = 02, kECHO = 010, kECHOE = 020, kECHOK = 040, kECHONL = 0100;
inline constexpr u32 kNOFLSH = 0200, kTOSTOP = 0400, kECHOCTL = 01000, kECHOPRT = 02000, kECHOKE = 04000;
inline constexpr u32 kFLUSHO = 010000, kPENDIN = 040000, kIEXTEN = 0100000, kEXTPROC = 0200000;
// c_cc
inline constexpr u32 kVINTR = 0, kVQUIT = 1, kVERASE = 2, kVKILL = 3, kVEOF = 4, kVTIME = 5, kVMIN = 6;
inline constexpr u32 kVSWTC = 7, kVSTART = 8, kVSTOP = 9, kVSUSP = 10, kVEOL = 11, kVREPRINT = 12;
inline constexpr u32 kVDISCARD = 13, kVWERASE = 14, kVLNEXT = 15, kVEOL2 = 16;
inline constexpr u32 kNCCS = 19;
inline constexpr u8 kVDISABLE = 0;  // _POSIX_VDISABLE

struct Termios {  // struct termios of the kernel: TCGETS
  u32 iflag, oflag, cflag, lflag;
  u8 line;
  u8 cc[kNCCS];
};
static_assert(sizeof(Termios) == 36);

struct Termios2 {  // TCGETS2
  Termios base;
  u32 ispeed, ospeed;
};
static_assert(sizeof(Termios2) == 44);

struct Termio {  // TCGETA
  u16 iflag, oflag, cflag, lflag;
  u8 line;
  u8 cc[8];
};

struct WinSize {
  u16 rows, columns, x_pixels, y_pixels;
};

inline constexpr u32 kTCGETS = 0x5401, kTCSETS = 0x5402, kTCSETSW = 0x5403, kTCSETSF = 0x5404;
inline constexpr u32 kTCGETA = 0x5405, kTCSETA = 0x5406, kTCSETAW = 0x5407, kTCSETAF = 0x5408;
inline constexpr u32 kTCSBRK = 0x5409, kTCXONC = 0x540a, kTCFLSH = 0x540b, kTIOCEXCL = 0x540c;
inline constexpr u32 kTIOCNXCL = 0x540d, kTIOCSCTTY = 0x540e, kTIOCGPGRP = 0x540f, kTIOCSPGRP = 0x5410;
inline constexpr u32 kTIOCOUTQ = 0x5411, kTIOCSTI = 0x5412, kTIOCGWINSZ = 0x5413, kTIOCSWINSZ = 0x5414;
inline constexpr u32 kTIOCMGET = 0x5415, kFIONREAD = 0x541b, kTIOCINQ = 0x541b, kTIOCCONS = 0x541d;
inline constexpr u32 kTIOCPKT = 0x5420, kFIONBIO = 0x5421, kTIOCNOTTY = 0x5422, kTIOCSETD = 0x5423;
inline constexpr u32 kTIOCGETD = 0x5424, kTCSBRKP = 0x5425, kTIOCSBRK = 0x5427, kTIOCCBRK = 0x5428;
inline constexpr u32 kTIOCGSID = 0x5429, kTCGETS2 = 0x802c542a, kTCSETS2 = 0x402c542b;
inline constexpr u32 kTCSETSW2 = 0x402c542c, kTCSETSF2 = 0x402c542d;
inline constexpr u32 kTIOCGPTN = 0x80045430, kTIOCSPTLCK = 0x40045431, kTIOCGDEV = 0x80045432;
inline constexpr u32 kTIOCSIG = 0x40045436, kTIOCVHANGUP = 0x5437, kTIOCGPKT = 0x80045438;
inline constexpr u32 kTIOCGPTLCK = 0x80045439, kTIOCGEXCL = 0x80045440, kTIOCGPTPEER = 0x5441;
inline constexpr u32 kTIOCGLCKTRMIOS = 0x5456, kTIOCSLCKTRMIOS = 0x5457;
inline constexpr u32 kFIONCLEX = 0x5450, kFIOCLEX = 0x5451, kFIOASYNC = 0x5452;

inline constexpr u64 kTCIFLUSH = 0, kTCOFLUSH = 1, kTCIOFLUSH = 2;
inline constexpr u64 kTCOOFF = 0, kTCOON = 1, kTCIOFF = 2, kTCION = 3;

inline constexpr u8 kTIOCPKT_DATA = 0, kTIOCPKT_FLUSHREAD = 1, kTIOCPKT_FLUSHWRITE = 2, kTIOCPKT_STOP = 4;
inline constexpr u8 kTIOCPKT_START = 8, kTIOCPKT_NOSTOP = 16, kTIOCPKT_DOSTOP = 32, kTIOCPKT_IOCTL = 64;

}  // namespace teacup::abi
