/* What assembly knows of TaskCore and Frame; dispatch.cc checks each with static_assert. */
#ifndef TEACUP_KERNEL_ENTRY_OFFSETS_H
#define TEACUP_KERNEL_ENTRY_OFFSETS_H

#define TASK_STACK_TOP 40
#define TASK_SCRATCH 48
#define TASK_MODE 56
#define TASK_PENDING 60

#define FRAME_R15 0
#define FRAME_R14 8
#define FRAME_R13 16
#define FRAME_R12 24
#define FRAME_RBP 32
#define FRAME_RBX 40
#define FRAME_R11 48
#define FRAME_R10 56
#define FRAME_R9 64
#define FRAME_R8 72
#define FRAME_RAX 80
#define FRAME_RCX 88
#define FRAME_RDX 96
#define FRAME_RSI 104
#define FRAME_RDI 112
#define FRAME_KIND 128
#define FRAME_RIP 136
#define FRAME_RFLAGS 152
#define FRAME_RSP 160
#define FRAME_SIZE 176

#define FRAME_KIND_CALL 0
#define FRAME_KIND_FULL 1
#define MODE_USER 0
#define MODE_KERNEL 1
#define USER_CS 0x33
#define USER_SS 0x2b
#define FLAGS_UNUSUAL 0x44500 /* AC, NT, DF, TF */

#endif
