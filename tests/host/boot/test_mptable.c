/* SPDX-License-Identifier: BSD-2-Clause */
/* The MP table as an operating system reads it: found by its signature, checked by its sums, walked by its
 * entries; and that what it says is how the machine is wired. */
// USES: servers/vmm/boot/*.c servers/vmm/boot/*.S servers/vmm/dev/*.c servers/vmm/policy/*.c
#include "check.h"
#include "servers/vmm/boot/mptable.h"
#include "servers/vmm/dev/bus.h"
#include "servers/vmm/policy/cpuid.h"

#include <string.h>

static uint8_t memory[0xa0000];
static uint64_t room = sizeof(memory);

static bool write(void *context, gpa_t to, const void *bytes, uint64_t n)
{
    (void)context;
    if (to.v + n > room)
        return false;
    CHECK(to.v >= BOOT_BASE_END); /* nothing but the EBDA */
    memcpy(memory + to.v, bytes, n);
    return true;
}

static const struct boot_memory target = { write, NULL };

static uint32_t get(const uint8_t *p, unsigned n)
{
    uint32_t v = 0;
    memcpy(&v, p, n);
    return v;
}

static uint8_t sum(const uint8_t *p, unsigned n)
{
    uint8_t s = 0;
    while (n--)
        s = (uint8_t)(s + *p++);
    return s;
}

/* The table, found as the specification says (4.1): every 16 bytes of the EBDA's first kilobyte. */
static const uint8_t *find(void)
{
    for (uint32_t at = BOOT_BASE_END; at < MP_END; at += 16) {
        const uint8_t *p = memory + at;
        if (memcmp(p, "_MP_", 4) || sum(p, 16))
            continue;
        CHECK_EQ(p[8], 1);
        CHECK_EQ(p[9], 4);
        CHECK_EQ(get(p + 11, 4), 0); /* no default configuration, virtual wire */
        return memory + get(p + 4, 4);
    }
    FAIL("no pointer structure");
}

TEST(mptable_header_is_whole)
{
    CHECK(boot_write_mp(&target));
    CHECK_EQ(memory[BOOT_BASE_END], 1); /* the EBDA's size */
    const uint8_t *t = find();
    CHECK_MEM_EQ(t, "PCMP", 4);
    CHECK_EQ(sum(t, get(t + 4, 2)), 0);
    CHECK(t + get(t + 4, 2) <= memory + MP_END);
    CHECK_EQ(t[6], 4);
    CHECK_EQ(get(t + 36, 4), LAPIC_BASE);
    CHECK_EQ(get(t + 40, 2), 0);
}

TEST(mptable_entries_are_the_machines_wiring)
{
    static const unsigned bytes[] = { 20, 8, 8, 8, 8 };
    unsigned count[5] = { 0 }, seen_lines = 0;
    static struct machine m;
    struct machine_config config = { .hz = DEV_HZ_MIN };
    uint32_t id, version, one = 1, zero = 0;
    CHECK(boot_write_mp(&target) && machine_init(&m, &config, 0));
    machine_write(&m, NULL, 0, (gpa_t){ IOAPIC_BASE }, (uint8_t *)&zero, 4);
    machine_read(&m, NULL, 0, (gpa_t){ IOAPIC_BASE + 16 }, (uint8_t *)&id, 4);
    machine_write(&m, NULL, 0, (gpa_t){ IOAPIC_BASE }, (uint8_t *)&one, 4);
    machine_read(&m, NULL, 0, (gpa_t){ IOAPIC_BASE + 16 }, (uint8_t *)&version, 4);
    const uint8_t *t = find(), *e = t + 44;
    for (unsigned i = 0; i < get(t + 34, 2); i++, e += bytes[e[0]]) {
        CHECK_LT(e[0], 5);
        check_note("entry %u of type %u", i, e[0]);
        CHECK(!count[4] || e[0] == 4); /* in the order of types */
        count[e[0]]++;
        switch (e[0]) {
        case 0:
            CHECK_EQ(e[1], 0);
            CHECK_EQ(e[3], 3); /* usable, bootstrap */
            CHECK_EQ(get(e + 4, 4), CPUID_SIGNATURE);
            break;
        case 1:
            CHECK_MEM_EQ(e + 2, "ISA   ", 6);
            break;
        case 2:
            CHECK_EQ(e[1], id >> 24);
            CHECK_EQ(e[2], version & 0xff);
            CHECK_EQ(e[3], 1);
            CHECK_EQ(get(e + 4, 4), IOAPIC_BASE);
            break;
        case 3:
            CHECK_EQ(get(e + 1, 4), 0); /* INT, as the bus has it, bus 0 */
            CHECK_EQ(e[6], id >> 24);
            CHECK_EQ(e[7], e[5] ? e[5] : 2);
            seen_lines |= 1u << e[5];
            break;
        default:
            CHECK_EQ(e[1], e[7] ? 1 : 3); /* NMI at LINT1, ExtINT at LINT0 */
            CHECK_EQ(e[6], 0xff);
            CHECK_EQ(m.lapic.lvt[LVT_LINT0 + e[7]], e[7] ? 0x400 : 0x700);
        }
    }
    CHECK_EQ((uint64_t)(e - t), get(t + 4, 2));
    CHECK_EQ(count[0] | count[1] << 4 | count[2] << 8, 0x111);
    CHECK_EQ(seen_lines, 0xfffb);
    CHECK_EQ(count[4], 2);
}

TEST(mptable_that_memory_refuses_is_an_error)
{
    for (room = BOOT_BASE_END; room < MP_TABLE + 44; room += 16)
        CHECK(!boot_write_mp(&target));
}
