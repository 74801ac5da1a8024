/* The copy routines of guest memory. A fault in one of them is not the kernel's: the host SIGSEGV/SIGBUS handler finds
 * the instruction in the exception table and goes on at the fix-up, with rcx = bytes left. */
#include "kernel/uaccess/on_fault.inc"

    .text
/* size_t guest_copy_raw(void* to, const void* from, size_t size): bytes not copied. Small pieces by words, larger ones by
 * four in each turn, the last of which overlap those before: `rep movsb` takes 30 to 100 cycles to begin
 * (kernel/base/memory.cc has figures). What cannot be had by words is copied by bytes, up to the one that faults. */
    .globl guest_copy_raw
    .type guest_copy_raw, @function
guest_copy_raw:
    mov %rdx, %rcx
    cmp $64, %rdx
    ja 20f
    cmp $8, %rdx
    jb 5f
    sub $8, %rcx
    jz 3f
1:  mov (%rsi), %rax
2:  mov %rax, (%rdi)
    add $8, %rsi
    add $8, %rdi
    sub $8, %rcx
    ja 1b
3:  mov (%rsi,%rcx), %rax
4:  mov %rax, (%rdi,%rcx)
    xor %eax, %eax
    ret
5:  cmp $4, %rdx
    jb 8f
6:  mov (%rsi), %eax
11: mov -4(%rsi,%rcx), %edx
7:  mov %eax, (%rdi)
12: mov %edx, -4(%rdi,%rcx)
    xor %eax, %eax
    ret
20: cmp $512, %rdx
    ja 8f
    sub $32, %rcx
21: mov (%rsi), %rax
22: mov 8(%rsi), %r8
23: mov 16(%rsi), %r9
24: mov 24(%rsi), %r10
25: mov %rax, (%rdi)
26: mov %r8, 8(%rdi)
27: mov %r9, 16(%rdi)
28: mov %r10, 24(%rdi)
    add $32, %rsi
    add $32, %rdi
    sub $32, %rcx
    ja 21b
31: mov (%rsi,%rcx), %rax
32: mov 8(%rsi,%rcx), %r8
33: mov 16(%rsi,%rcx), %r9
34: mov 24(%rsi,%rcx), %r10
35: mov %rax, (%rdi,%rcx)
36: mov %r8, 8(%rdi,%rcx)
37: mov %r9, 16(%rdi,%rcx)
38: mov %r10, 24(%rdi,%rcx)
    xor %eax, %eax
    ret
30: add $24, %rcx
10: add $8, %rcx
8:  rep movsb
9:  mov %rcx, %rax
    ret
    .irp access, 21b, 22b, 23b, 24b, 25b, 26b, 27b, 28b, 31b, 32b, 33b, 34b, 35b, 36b, 37b, 38b
    on_fault \access, 30b
    .endr
    on_fault 1b, 10b
    on_fault 2b, 10b
    on_fault 3b, 10b
    on_fault 4b, 10b
    on_fault 6b, 8b
    on_fault 11b, 8b
    on_fault 7b, 8b
    on_fault 12b, 8b
    on_fault 8b, 9b
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
