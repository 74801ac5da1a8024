/* The copy routines of guest memory. A fault in one of them is not the kernel's: the host SIGSEGV/SIGBUS handler finds
 * the instruction in the exception table and goes on at the fix-up, with rcx = bytes left. */
#include "kernel/uaccess/on_fault.inc"

    .text
/* size_t guest_copy_raw(void* to, const void* from, size_t size): bytes not copied */
    .globl guest_copy_raw
    .type guest_copy_raw, @function
guest_copy_raw:
    mov %rdx, %rcx
    cmp $8, %rdx
    je 4f
1:  rep movsb
2:  mov %rcx, %rax
    ret
4:  mov (%rsi), %rax
5:  mov %rax, (%rdi)
    xor %eax, %eax
    ret
3:  mov $8, %eax
    ret
    on_fault 1b, 2b
    on_fault 4b, 3b
    on_fault 5b, 3b
    .size guest_copy_raw, .-guest_copy_raw

/* size_t guest_zero_raw(void* to, size_t size): bytes not zeroed */
    .globl guest_zero_raw
    .type guest_zero_raw, @function
guest_zero_raw:
    mov %rsi, %rcx
    xor %eax, %eax
1:  rep stosb
2:  mov %rcx, %rax
    ret
    on_fault 1b, 2b
    .size guest_zero_raw, .-guest_zero_raw

/* Atomic access to guest words (futexes). Each returns 0, or 1 on a fault.
 * int guest_load32(const u32* at, u32* value) */
    .globl guest_load32
    .type guest_load32, @function
guest_load32:
1:  mov (%rdi), %eax
    mov %eax, (%rsi)
    xor %eax, %eax
    ret
2:  mov $1, %eax
    ret
    on_fault 1b, 2b
    .size guest_load32, .-guest_load32

/* int guest_cas32(u32* at, u32* expected, u32 desired): *expected becomes what was there */
    .globl guest_cas32
    .type guest_cas32, @function
guest_cas32:
    mov (%rsi), %eax
1:  lock cmpxchg %edx, (%rdi)
    mov %eax, (%rsi)
    xor %eax, %eax
    ret
2:  mov $1, %eax
    ret
    on_fault 1b, 2b
    .size guest_cas32, .-guest_cas32

    .section .note.GNU-stack,"",@progbits
