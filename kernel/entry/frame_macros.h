/* Assembly macros of the ways into and out of the kernel: the Frame (kernel/task/frame.h) on the task's stack. */
#ifndef TEACUP_KERNEL_ENTRY_FRAME_MACROS_H
#define TEACUP_KERNEL_ENTRY_FRAME_MACROS_H

#include "kernel/entry/offsets.h"

    .macro PUBLIC name
    .globl \name
    .type \name, @function
\name:
    .endm

/* From guest code: switches to the task's kernel stack and stores the whole Frame there. Nothing is written to the
 * guest's stack. `rip` is a register, `kind` and `number` may be anything that can be pushed. */
    .macro SAVE_FRAME rip, kind, number
    mov %rsp, %gs:TASK_SCRATCH
    mov %gs:TASK_STACK_TOP, %rsp
    pushq $USER_SS
    pushq %gs:TASK_SCRATCH
    pushfq
    pushq $USER_CS
    pushq \rip
    pushq \kind
    pushq \number
    pushq %rdi
    pushq %rsi
    pushq %rdx
    pushq %rcx
    pushq %rax
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    .endm

/* rsp = the Frame. */
    .macro LOAD_CALLEE_SAVED
    mov FRAME_R15(%rsp), %r15
    mov FRAME_R14(%rsp), %r14
    mov FRAME_R13(%rsp), %r13
    mov FRAME_R12(%rsp), %r12
    mov FRAME_RBP(%rsp), %rbp
    mov FRAME_RBX(%rsp), %rbx
    .endm

    .macro LOAD_ARGUMENTS
    mov FRAME_R10(%rsp), %r10
    mov FRAME_R9(%rsp), %r9
    mov FRAME_R8(%rsp), %r8
    mov FRAME_RDX(%rsp), %rdx
    mov FRAME_RSI(%rsp), %rsi
    mov FRAME_RDI(%rsp), %rdi
    .endm

/* The kernel runs without DF, AC and TF. */
    .macro CLEAN_FLAGS
    pushq $2
    popfq
    .endm

#endif
