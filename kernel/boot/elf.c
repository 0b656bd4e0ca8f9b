/* SPDX-License-Identifier: BSD-2-Clause */
/* The root task's ELF image: everything is checked before anything is used. Pure. */
#include "boot.h"

struct elf_header {
    uint8_t ident[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, phoff, shoff;
    uint32_t flags;
    uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
struct elf_program {
    uint32_t type, flags;
    uint64_t offset, vaddr, paddr, filesz, memsz, align;
};
#define LOAD 1

static const char *check_program(const struct elf_program *p, uint64_t bytes)
{
    if (p->filesz > p->memsz || p->offset > bytes || p->filesz > bytes - p->offset)
        return "a segment lies outside the file";
    if (p->vaddr < PAGE_BYTES || p->vaddr >= BIT(46) || p->memsz > BIT(30))
        return "a segment lies outside the user address space";
    return NULL;
}

const char *elf_check(const void *image, uint64_t bytes)
{
    const struct elf_header *h = image;

    if (bytes < sizeof(*h) || h->ident[0] != 0x7f || h->ident[1] != 'E' || h->ident[2] != 'L' ||
        h->ident[3] != 'F')
        return "not an ELF file";
    if (h->ident[4] != 2 || h->machine != 62 || h->type != 2 || h->phentsize != sizeof(struct elf_program))
        return "not a static x86-64 executable";
    if (h->phoff > bytes || h->phnum > 16 || h->phnum * sizeof(struct elf_program) > bytes - h->phoff ||
        h->phoff % 8)
        return "bad program headers";
    const struct elf_program *p = (const void *)((const uint8_t *)image + h->phoff);
    for (unsigned i = 0; i < h->phnum; i++) {
        const char *e = p[i].type == LOAD && p[i].memsz ? check_program(&p[i], bytes) : NULL;
        if (e)
            return e;
    }
    return h->entry < BIT(46) ? NULL : "bad entry address";
}

unsigned elf_segments(const void *image, struct elf_segment *out, unsigned max, uint64_t *entry)
{
    const struct elf_header *h = image;
    const struct elf_program *p = (const void *)((const uint8_t *)image + h->phoff);
    unsigned n = 0;

    *entry = h->entry;
    for (unsigned i = 0; i < h->phnum && n < max; i++)
        if (p[i].type == LOAD && p[i].memsz)
            out[n++] = (struct elf_segment){ p[i].vaddr,     p[i].memsz,
                                             p[i].filesz,    (const uint8_t *)image + p[i].offset,
                                             p[i].flags & 2, p[i].flags & 1 };
    return n;
}
