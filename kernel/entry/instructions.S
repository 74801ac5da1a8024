/* The ways into the kernel for patched instructions that are no system calls: cpuid, rdtsc, rdtscp.
 *
 * rdx names the way back: all three write it and none reads it. rax and rcx are cpuid's operands. Whatever the
 * instruction does not write comes back as it was, flags, rcx and r11 included, so the frame is a full one and the way
 * out the common one, by iretq: a kick that arrives meanwhile is seen there like after any call.
 */
#include "kernel/entry/offsets.h"

    .macro INSTRUCTION_ENTRY name, serve
    .p2align 6
    .globl \name
    .type \name, @function
\name:
    mov %rsp, %gs:TASK_SCRATCH
    mov %gs:TASK_STACK_TOP, %rsp
    pushq $USER_SS
    pushq %gs:TASK_SCRATCH
    pushfq
    pushq $USER_CS
    pushq %rdx                  /* rip */
    pushq $FRAME_KIND_FULL
    pushq $-1                   /* kNoCall */
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
    pushq $2                    /* the kernel runs without DF, AC and TF */
    popfq
    mov $MODE_KERNEL, %eax
    xchg %eax, %gs:TASK_MODE
    mov %rsp, %rdi
    xor %ebp, %ebp
    call \serve
    jmp exit_to_guest
    .endm

    .text
    INSTRUCTION_ENTRY cpuid_entry, kernel_cpuid
    INSTRUCTION_ENTRY rdtsc_entry, kernel_rdtsc
    INSTRUCTION_ENTRY rdtscp_entry, kernel_rdtscp

    .section .note.GNU-stack,"",@progbits
