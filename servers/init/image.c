/* SPDX-License-Identifier: BSD-2-Clause */
/* ELF64 executables: check, and what each page holds. No system calls. (System V ABI, chapter 4; AMD64
 * supplement.) */
#include "init.h"
#include <elf.h>
#include <string.h>

static const char *check_header(const Elf64_Ehdr *h, uint64_t bytes)
{
    if (bytes < sizeof(*h) || memcmp(h->e_ident, ELFMAG, SELFMAG) != 0)
        return "it is no ELF file";
    if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_machine != EM_X86_64)
        return "it is not for x86-64";
    if (h->e_type != ET_EXEC)
        return "it is not a static executable";
    if (h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phoff % 8 || h->e_phoff > bytes ||
        h->e_phnum > (bytes - h->e_phoff) / sizeof(Elf64_Phdr))
        return "its program headers lie outside the file";
    return NULL;
}

static const char *add(const uint8_t *file, uint64_t bytes, uint64_t limit, const Elf64_Phdr *p,
                       struct image_segment *segments, unsigned *n)
{
    if (p->p_memsz == 0)
        return NULL;
    if (*n == IMAGE_SEGMENTS_MAX)
        return "it has too many segments";
    if (p->p_offset > bytes || p->p_filesz > bytes - p->p_offset || p->p_filesz > p->p_memsz)
        return "a segment lies outside the file";
    if (p->p_vaddr < PAGE_BYTES || p->p_vaddr >= limit || p->p_memsz > limit - p->p_vaddr)
        return "a segment lies outside the address space for images";
    if (*n && p->p_vaddr < segments[*n - 1].address + segments[*n - 1].memory_bytes)
        return "its segments overlap";
    segments[(*n)++] = (struct image_segment){
        .address = p->p_vaddr,
        .memory_bytes = p->p_memsz,
        .file_bytes = p->p_filesz,
        .data = file + p->p_offset,
        .rights = RIGHT_READ | (p->p_flags & PF_W ? RIGHT_WRITE : 0u) | (p->p_flags & PF_X ? RIGHT_EXEC : 0u),
    };
    return NULL;
}

const char *image_read(const uint8_t *file, uint64_t bytes, uint64_t limit, struct image_segment *segments,
                       unsigned *n, uint64_t *entry)
{
    const Elf64_Ehdr *h = (const void *)file;
    const char *wrong = check_header(h, bytes);

    *n = 0;
    if (wrong)
        return wrong;
    const Elf64_Phdr *p = (const void *)(file + h->e_phoff);
    for (unsigned i = 0; i < h->e_phnum && !wrong; i++)
        if (p[i].p_type == PT_LOAD)
            wrong = add(file, bytes, limit, &p[i], segments, n);
        else if (p[i].p_type == PT_INTERP)
            wrong = "it is linked dynamically";
    *entry = h->e_entry;
    if (!wrong && !(image_page_rights(segments, *n, *entry & ~(PAGE_BYTES - 1)) & RIGHT_EXEC))
        wrong = "its entry is not in it";
    return wrong;
}

static bool touches(const struct image_segment *s, uint64_t page)
{
    return s->address < page + PAGE_BYTES && s->address + s->memory_bytes > page;
}

unsigned image_page_rights(const struct image_segment *segments, unsigned n, uint64_t page)
{
    unsigned rights = 0;

    for (unsigned i = 0; i < n; i++)
        if (touches(&segments[i], page))
            rights |= segments[i].rights;
    return rights;
}

void image_page_fill(const struct image_segment *segments, unsigned n, uint64_t page, uint8_t *to)
{
    for (unsigned i = 0; i < n; i++) {
        const struct image_segment *s = &segments[i];
        uint64_t from = s->address > page ? s->address : page, end = s->address + s->file_bytes;
        if (end > page + PAGE_BYTES)
            end = page + PAGE_BYTES;
        if (from < end)
            memcpy(to + (from - page), s->data + (from - s->address), end - from);
    }
}
