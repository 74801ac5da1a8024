/* The ways into the kernel for patched instructions that are no system calls: cpuid, rdtsc, rdtscp.
 *
 * rdx names the way back: all three write it and none reads it. rax and rcx are cpuid's operands. Whatever the
 * instruction does not write comes back as it was, flags, rcx and r11 included, so the frame is a full one and the way
 * out the common one, by iretq: a kick that arrives meanwhile is seen there like after any call.
 */
#include "kernel/entry/frame_macros.inc"

    .macro INSTRUCTION_ENTRY name, serve
    .p2align 6
PUBLIC \name
    SAVE_FRAME %rdx, $FRAME_KIND_FULL, $-1  /* kNoCall */
    CLEAN_FLAGS
    movl $MODE_KERNEL, %gs:TASK_MODE
    mov %rsp, %rdi
    xor %ebp, %ebp
    call \serve
    jmp exit_to_guest
    /* From the handler of a trap at the above: the guest has TF set. The Frame is stored. */
PUBLIC \name\()_stepped
    mov %rsp, %rdi
    xor %ebp, %ebp
    call \serve
    mov %rsp, %rdi
    call kernel_stepped_instruction
    jmp exit_to_guest
    .endm

    .text
    INSTRUCTION_ENTRY cpuid_entry, kernel_cpuid
    INSTRUCTION_ENTRY rdtsc_entry, kernel_rdtsc
    INSTRUCTION_ENTRY rdtscp_entry, kernel_rdtscp

    .section .note.GNU-stack,"",@progbits
