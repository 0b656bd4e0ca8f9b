/* SPDX-License-Identifier: BSD-2-Clause */
/* Address spaces: frames, views and the page tables on the way to them; boot modules as init sees them. */
#include "init.h"
#include <string.h>

#define LARGE_BYTES (1ul << FRAME_2M)

/* Tables from the top down to `level`; where one is there already, the fresh one is kept for the next. */
static void tables(struct init *in, struct space *s, uint64_t address, unsigned level)
{
    for (unsigned l = 3; l >= level; l--) {
        uint64_t span = 1ul << (PAGE_SHIFT + 9 * l);
        if (!s->spare)
            s->spare = objects_new(in, s->pool, s->slots, OBJ_PAGETABLE, 0, 1);
        err_t e = sys_invoke3(s->spare, PAGETABLE_MAP, s->vspace, address & ~(span - 1), l);
        if (e == ERR_OK)
            s->spare = 0;
        else if (e != ERR_ALREADY_MAPPED)
            fail(in, e, "page table of level %u for %#lx", l, address);
    }
}

void space_frame(struct init *in, struct space *s, cptr_t frame, unsigned bits, uint64_t address,
                 unsigned rights)
{
    err_t e = sys_invoke3(frame, FRAME_MAP, s->vspace, address, rights);

    if (e == ERR_NO_TABLE) {
        tables(in, s, address, bits == FRAME_2M ? 2 : 1);
        e = sys_invoke3(frame, FRAME_MAP, s->vspace, address, rights);
    }
    if (e != ERR_OK)
        fail(in, e, "map a frame at %#lx with rights %x", address, rights);
}

void space_view(struct init *in, struct space *s, cptr_t view, bool window, uint64_t address)
{
    err_t e = sys_invoke2(view, VIEW_MAP, s->vspace, address);

    if (e == ERR_NO_TABLE && !window) {
        tables(in, s, address, 1);
        e = sys_invoke2(view, VIEW_MAP, s->vspace, address);
    }
    if (e != ERR_OK)
        fail(in, e, "map a view at %#lx", address);
}

/* Frames of one size are made at once: what lies between two large ones would be lost. */
static void run(struct init *in, struct space *s, uint64_t address, uint64_t bytes, unsigned bits,
                unsigned rights)
{
    uint32_t n = (uint32_t)(bytes >> bits);
    cptr_t first = n ? objects_new(in, s->pool, s->slots, OBJ_FRAME, bits, n) : 0;

    for (uint32_t i = 0; i < n; i++)
        space_frame(in, s, s->slots->sub ? first + (i << 16) : first + i, bits,
                    address + ((uint64_t)i << bits), rights);
}

void space_memory(struct init *in, struct space *s, uint64_t address, uint64_t bytes, unsigned rights)
{
    uint64_t large = address % LARGE_BYTES ? 0 : bytes & ~(LARGE_BYTES - 1);

    run(in, s, address, large, FRAME_2M, rights);
    run(in, s, address + large, bytes - large, FRAME_4K, rights);
}

cptr_t space_page(struct init *in, struct space *s, uint64_t address, unsigned rights)
{
    cptr_t frame = objects_new(in, s->pool, s->slots, OBJ_FRAME, FRAME_4K, 1);

    space_frame(in, s, frame, FRAME_4K, address, rights);
    return frame;
}

void scratch_open(struct init *in, cptr_t frame)
{
    space_frame(in, &in->space, frame, FRAME_4K, INIT_SCRATCH, RIGHT_READ | RIGHT_WRITE);
}

void scratch_close(struct init *in, cptr_t frame)
{
    err_t e = sys_invoke0(frame, FRAME_UNMAP);

    if (e != ERR_OK)
        fail(in, e, "unmap a frame");
}

/* --- boot modules --- */

/* Does text up to its end or a blank, without folder and ending, equal the name? */
static bool names(const char *text, const char *name)
{
    size_t n = strcspn(text, " "), base = 0;

    for (size_t i = 0; i < n; i++)
        if (text[i] == '/')
            base = i + 1;
    size_t end = base;
    while (end < n && text[end] != '.')
        end++;
    return end - base == strlen(name) && memcmp(text + base, name, end - base) == 0;
}

static bool module_is(const struct umbra_boot_module *m, const char *name)
{
    const char *argument = strrchr(m->name, ' ');
    return argument && argument[1] ? names(argument + 1, name) : names(m->name, name);
}

uint32_t module_known(const struct init *in, const char *name)
{
    for (uint32_t i = 1; i < in->boot->module_count; i++)
        if (module_is(&in->boot->module[i], name))
            return i;
    return 0;
}

uint32_t module_find(struct init *in, const char *name)
{
    uint32_t found = module_known(in, name);

    if (found)
        return found;
    fail(in, ERR_OK, "there is no boot module \"%s\"", name);
}

const uint8_t *module_map(struct init *in, uint32_t module)
{
    const struct umbra_boot_module *m = &in->boot->module[module];
    uint64_t address = INIT_MODULES + module * DESC_MODULE_STEP;

    if (in->module[module])
        return in->module[module];
    if (m->frames > DESC_MODULE_STEP / LARGE_BYTES)
        fail(in, ERR_OK, "boot module %s is too large", m->name);
    for (uint32_t i = 0; i < m->frames; i++)
        space_frame(in, &in->space, m->cap + i, FRAME_2M, address + i * LARGE_BYTES, RIGHT_READ);
    return in->module[module] = (const uint8_t *)address;
}
