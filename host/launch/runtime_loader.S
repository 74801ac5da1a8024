/* The program that the host execs as the template: it maps the runtime's segments from the teacup command's own file,
 * in which the runtime is embedded (runtime_blob.S), and jumps to it. One page, an ELF file written by hand, since exec
 * wants one that begins at the start of a file.
 *
 * The runtime itself was written to memory and exec'd before. That was 1 ms of the machine's start, and 1.2 MB of memory
 * of each machine; the command's file is in the host's page cache, once for all machines. The page stays mapped: the
 * filter allows no call from here.
 *
 * template.cc fills in where the page lies, the table of segments, and the runtime's entry; the file is descriptor 0. */
#define SYS_mmap 9
#define SYS_close 3
#define SYS_exit_group 231
#define MAP_PRIVATE_FIXED 0x12

    .section .rodata
    .globl teacup_loader_start, teacup_loader_segments, teacup_loader_entry, teacup_loader_end
    .balign 16
teacup_loader_start:
    /* elf(5): Elf64_Ehdr */
    .byte 0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0
    .short 2, 62                                           /* ET_EXEC, EM_X86_64 */
    .long 1
    .quad start - teacup_loader_start
    .quad headers - teacup_loader_start
    .quad 0
    .long 0
    .short 64, 56, 2, 64, 0, 0
headers:
    .long 1, 5                                             /* PT_LOAD, PF_R | PF_X */
    .quad 0, 0, 0
    .quad teacup_loader_end - teacup_loader_start, teacup_loader_end - teacup_loader_start, 4096
    .long 0x6474e551, 6                                    /* PT_GNU_STACK, PF_R | PF_W */
    .quad 0, 0, 0, 0, 0, 16

start:
    leaq teacup_loader_segments(%rip), %rbx
1:  movq (%rbx), %rdi
    testq %rdi, %rdi
    jz 2f
    movq 8(%rbx), %rsi
    movq 16(%rbx), %rdx
    movl $MAP_PRIVATE_FIXED, %r10d
    xorl %r8d, %r8d
    movq 24(%rbx), %r9
    movl $SYS_mmap, %eax
    syscall
    cmpq %rdi, %rax
    jne 3f
    addq $32, %rbx
    jmp 1b
2:  xorl %edi, %edi
    movl $SYS_close, %eax
    syscall
    jmpq *teacup_loader_entry(%rip)
3:  movl $125, %edi
    movl $SYS_exit_group, %eax
    syscall

    .balign 8
teacup_loader_entry:
    .quad 0
    /* Address, length, PROT_*, offset in the file of each; then 0. */
teacup_loader_segments:
    .fill 4 * 4 + 1, 8, 0
teacup_loader_end:
    .section .note.GNU-stack,"",@progbits
