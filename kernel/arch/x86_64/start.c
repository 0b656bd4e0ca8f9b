/* SPDX-License-Identifier: BSD-2-Clause */
/* The order in which the kernel comes up on its first processor. boot.S calls kernel_boot; it never returns.
 */
#include "boot/boot.h"
#include "cpu.h"
#include "log.h"
#include "x86.h"

_Noreturn void kernel_boot(uint32_t magic, uint64_t info);
_Noreturn void user_start(struct regs *r, uint64_t stack);

__asm__(".text\nuser_start:\n mov %rdi, %rax\n mov %rsi, %rsp\n jmp user_return\n");

void kernel_boot(uint32_t magic, uint64_t info)
{
    static struct boot_data boot;

    bool known = multiboot_read(magic, info, &boot);
    log_init(boot.command_line);
    log_printf("\numbra: kernel %s\n", version_text());
    if (!known)
        PANIC("the loader is not a Multiboot loader (magic %x)", magic);
    paging_init();
    tables_init();
    fpu_init();
    interrupts_init();
    svm_init();
    for (unsigned i = 0; i < IRQ_LINES; i++)
        cpu.irq[i].holder = OBJ_IRQ;
    roottask_create(&boot);
    log_printf("umbra: %u boot modules, TSC %lu kHz, root task starts\n", boot.modules, arch_tsc_hz() / 1000);
    user_start(kernel_leave(), (uintptr_t)kernel_stack_top);
}
