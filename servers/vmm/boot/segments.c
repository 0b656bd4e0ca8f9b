/* SPDX-License-Identifier: BSD-2-Clause */
/* Parts of an image in guest memory. See segments.h for what holds. */
#include "servers/vmm/boot/segments.h"

static const struct boot_result good = { BOOT_OK, 0, 0 };

static struct boot_result fail(enum boot_error error, uint64_t have, uint64_t need)
{
    return (struct boot_result){ error, have, need };
}

/* [start, start + bytes) lies in [from, end). */
static bool inside(uint64_t start, uint64_t bytes, uint64_t from, uint64_t end)
{
    return start >= from && start <= end && bytes <= end - start;
}

static bool overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
    return a < b ? b - a < a_bytes : a - b < b_bytes;
}

struct boot_result segments_add(struct boot_plan *plan, uint64_t image_bytes, const struct boot_segment *s)
{
    if (!inside(s->offset, s->file_bytes, 0, image_bytes))
        return fail(BOOT_ELF_CUT, image_bytes, s->offset + s->file_bytes);
    if (s->file_bytes > s->bytes)
        return fail(BOOT_ELF_SIZE, s->file_bytes, s->bytes);
    if (!s->bytes)
        return good;
    if (!inside(s->start, s->bytes, SEGMENTS_LOW, BOOT_BASE_END) &&
        !inside(s->start, s->bytes, BOOT_LOW_END, plan->memory_bytes))
        return fail(BOOT_SEGMENT_PLACE, s->start, s->bytes);
    for (uint32_t i = 0; i < plan->segments; i++)
        if (overlap(s->start, s->bytes, plan->segment[i].start, plan->segment[i].bytes))
            return fail(BOOT_SEGMENTS_OVERLAP, s->start, plan->segment[i].start);
    if (plan->segments == BOOT_SEGMENTS_MAX)
        return fail(BOOT_ELF_HEADERS, BOOT_SEGMENTS_MAX + 1, BOOT_SEGMENTS_MAX);
    plan->segment[plan->segments++] = *s;
    return good;
}

struct boot_result segments_finish(struct boot_plan *plan, uint64_t entry)
{
    uint64_t first = UINT64_MAX, end = 0;
    bool found = false;

    for (uint32_t i = 0; i < plan->segments; i++) {
        const struct boot_segment *s = &plan->segment[i];
        found |= entry - s->start < s->bytes;
        first = s->start < first ? s->start : first;
        end = s->start + s->bytes > end ? s->start + s->bytes : end;
    }
    if (!plan->segments)
        return fail(BOOT_NO_SEGMENT, 0, 1);
    if (!found)
        return fail(BOOT_ENTRY_OUTSIDE, entry, first);
    plan->room = (struct boot_piece){ first, end - first };
    return good;
}

static uint64_t page_up(uint64_t at)
{
    return (at + PAGE_BYTES - 1) & -PAGE_BYTES;
}

/* The segment that something at this place would lie over. */
static const struct boot_segment *in_the_way(const struct boot_plan *plan, uint64_t at, uint64_t bytes)
{
    for (uint32_t i = 0; i < plan->segments; i++)
        if (overlap(at, bytes, plan->segment[i].start, plan->segment[i].bytes))
            return &plan->segment[i];
    return NULL;
}

uint64_t segments_place(const struct boot_plan *plan, uint64_t from, uint64_t end, uint64_t bytes)
{
    uint64_t at = page_up(from);

    for (uint32_t tries = 0; tries <= plan->segments && inside(at, bytes, from, end); tries++) {
        const struct boot_segment *s = in_the_way(plan, at, bytes);
        if (!s)
            return at;
        at = page_up(s->start + s->bytes);
    }
    return 0;
}

struct boot_result segments_place_info(struct boot_plan *plan, uint64_t bytes)
{
    uint64_t at = segments_place(plan, INFO_LOW, BOOT_BASE_END, bytes);

    if (!at)
        at = segments_place(plan, BOOT_LOW_END, plan->memory_bytes, bytes);
    if (!at)
        return fail(BOOT_INFO_TOO_BIG, plan->memory_bytes, bytes);
    plan->info = (struct boot_piece){ at, bytes };
    return good;
}

bool segments_load(const uint8_t *image, const struct boot_plan *plan, const struct boot_memory *m)
{
    for (uint32_t i = 0; i < plan->segments; i++) {
        const struct boot_segment *s = &plan->segment[i];
        if (s->file_bytes && !m->write(m->context, (gpa_t){ s->start }, image + s->offset, s->file_bytes))
            return false;
    }
    return true;
}
