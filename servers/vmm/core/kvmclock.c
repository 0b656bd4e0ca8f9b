/* SPDX-License-Identifier: BSD-2-Clause */
/* The clock of guests that were told so (policy/cpuid.h, enlighten): two places in their memory from which
 * they compute the time, named by MSRs (Linux, Documentation/virt/kvm/x86/msr.rst, cpuid.rst).
 *
 * A guest's TSC runs evenly and stands still when the guest does, so what was written stays right until
 * somebody sets the TSC; then it is written again. The writes are the exit's like those of an instruction:
 * undo record, shadow MMU. tests/host/core/test_kvmclock.c. */
#include "servers/vmm/core/vmm.h"

#define NANOSECONDS 1000000000ull
#define TSC_STABLE  1 /* one clock for all processors, and no need to look for jumps */

struct clock_page {
    uint32_t version, pad; /* even; another one after each change */
    uint64_t tsc, ns;      /* this moment on both clocks */
    uint32_t multiplier;   /* ns = (ticks << shift) * multiplier >> 32 */
    int8_t shift;
    uint8_t flags, pad2[2];
};
struct wall_page { /* the date at which ns was 0 */
    uint32_t version, seconds, ns;
};
BUILD_ASSERT(sizeof(struct clock_page) == 32 && sizeof(struct wall_page) == 12);

/* NANOSECONDS / hz as multiplier / 2^32 << shift, the multiplier with its upper bit set or as good as that.
 */
static void scale_of(uint64_t hz, struct clock_page *p)
{
    uint64_t up = NANOSECONDS, down = hz;

    while (down >> 32) {
        down >>= 1;
        p->shift--;
    }
    while (up >= down) {
        down <<= 1;
        p->shift++;
    }
    while (up < down >> 1) {
        up <<= 1;
        p->shift--;
    }
    p->multiplier = (uint32_t)((up << 31) / down << 1 | ((up << 31) % down << 1) / down);
}

static uint64_t guest_tsc(const struct vmm *v)
{
    return v->now + v->state->tsc_offset;
}

/* Since the guest began; it may have set its TSC meanwhile. */
static uint64_t guest_ns(const struct vmm *v)
{
    uint64_t ticks = guest_tsc(v) - v->state->msr.store[STORE_TSC_ADJUST];

    return dev_scale(ticks, NANOSECONDS, v->state->machine.hz);
}

/* Where one is that is changed now: an odd version first is for guests with several processors. */
static bool next_version(const struct vmm *v, gpa_t at, uint32_t *version)
{
    if (gmem_read32(&v->mem, at, version) != GMEM_OK)
        return false;
    *version = (*version | 1) + 1;
    return true;
}

bool vmm_tell_clock(struct vmm *v)
{
    uint64_t msr = v->state->msr.store[STORE_KVM_CLOCK];
    struct clock_page p = { .tsc = guest_tsc(v), .ns = guest_ns(v), .flags = TSC_STABLE };
    gpa_t at = { msr & ~1ull };

    if (!(msr & 1))
        return true;
    scale_of(v->state->machine.hz, &p);
    return next_version(v, at, &p.version) && vmm_write_memory(v, at, &p, sizeof(p));
}

bool vmm_tell_date(struct vmm *v)
{
    const struct cmos *c = &v->state->machine.cmos;
    struct wall_page p = { 0 };
    gpa_t at = { v->state->msr.store[STORE_KVM_WALL] };
    uint64_t ns = (uint64_t)c->seconds * NANOSECONDS + dev_scale(v->now - c->second_zero, NANOSECONDS, c->hz);

    ns -= guest_ns(v);
    p.seconds = (uint32_t)(ns / NANOSECONDS);
    p.ns = (uint32_t)(ns % NANOSECONDS);
    return next_version(v, at, &p.version) && vmm_write_memory(v, at, &p, sizeof(p));
}
