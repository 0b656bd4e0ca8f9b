/* SPDX-License-Identifier: BSD-2-Clause */
/* What Linux would have put on a new program's stack (System V ABI, AMD64, 3.4.1), so that musl's _start
 * finds it. Runs before musl is set up: no TLS, no stdio. */
#include "libc/internal.h"
#include "sys/sys.h"
#include <elf.h>
#include <string.h>

BUILD_ASSERT((int)SLOT_TCB == (int)DESC_SLOT_TCB);

extern const Elf64_Ehdr __ehdr_start;
extern const char umbra_start[];

struct block {
    uint64_t argc;
    const char *argv[2], *environment[1];
    Elf64_auxv_t auxiliary[9];
    uint8_t random[16];
};

/* Not secret: the stack protector's canary, which musl takes from here, guards against faults, not attacks.
 */
static void fill_random(uint8_t *to)
{
    uint64_t x = libc_tsc();

    for (unsigned i = 0; i < 16; i++) {
        x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9ul + i;
        to[i] = (uint8_t)(x >> 56);
    }
}

void libc_prepare(struct block *b, size_t bytes)
{
    const Elf64_Ehdr *e = &__ehdr_start;
    const struct component_info *info = (const void *)BOOT_INFO_ADDRESS;
    bool root = info->magic == BOOT_MAGIC;

    if (sizeof(*b) > bytes || sys_invoke1(SLOT_TCB, TCB_SET_HANDLER, (uintptr_t)libc_call_entry) != ERR_OK)
        __builtin_trap();
    libc_init(info, root);
    memset(b, 0, sizeof(*b));
    b->argc = 1;
    b->argv[0] = root ? "init" : info->name;
    fill_random(b->random);
    const Elf64_auxv_t list[] = {
        { AT_PHDR, { (uintptr_t)e + e->e_phoff } },
        { AT_PHENT, { e->e_phentsize } },
        { AT_PHNUM, { e->e_phnum } },
        { AT_PAGESZ, { PAGE_BYTES } },
        { AT_ENTRY, { (uintptr_t)umbra_start } },
        { AT_RANDOM, { (uintptr_t)b->random } },
        { AT_EXECFN, { (uintptr_t)b->argv[0] } },
        { AT_CLKTCK, { 100 } },
        { AT_NULL, { 0 } },
    };
    BUILD_ASSERT(sizeof(list) == sizeof(b->auxiliary));
    memcpy(b->auxiliary, list, sizeof(list));
}
