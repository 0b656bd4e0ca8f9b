/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's CPUID for hosts that have everything, nothing, and what TCG's `max` has. */
// USES: servers/vmm/policy/*.c
#include "check.h"
#include "servers/vmm/policy/cpuid.h"

#include <string.h>

static struct cpuid_host host_of(uint32_t v)
{
    struct cpuid_host h = { .enlighten = 0 };
    for (int i = 0; i < CPUID_HOST_ROWS; i++)
        h.row[i] = (struct cpuid_regs){ v, v, v, v };
    return h;
}

TEST(cpuid_hides_what_the_vmm_does_not_provide)
{
    static const struct {
        uint32_t leaf;
        char reg;
        uint8_t bit;
        const char *what;
    } hidden[] = {
        { 1, 'c', 2, "DTES64" },
        { 1, 'c', 3, "MONITOR" },
        { 1, 'c', 5, "VMX" },
        { 1, 'c', 12, "FMA" },
        { 1, 'c', 17, "PCID" },
        { 1, 'c', 21, "x2APIC" },
        { 1, 'c', 26, "XSAVE" },
        { 1, 'c', 27, "OSXSAVE" },
        { 1, 'c', 28, "AVX" },
        { 1, 'c', 31, "hypervisor" },
        { 1, 'd', 1, "VME" },
        { 1, 'd', 7, "MCE" },
        { 1, 'd', 12, "MTRR" },
        { 1, 'd', 14, "MCA" },
        { 1, 'd', 28, "HTT" },
        { 7, 'b', 5, "AVX2" },
        { 7, 'b', 10, "INVPCID" },
        { 7, 'b', 16, "AVX512F" },
        { 7, 'c', 2, "UMIP" },
        { 7, 'c', 3, "PKU" },
        { 7, 'c', 16, "LA57" },
        { 7, 'c', 22, "RDPID" },
        { 7, 'd', 26, "SPEC_CTRL" },
        { 7, 'd', 31, "SSBD" },
        { 0x80000001, 'c', 1, "CMP_LEGACY" },
        { 0x80000001, 'c', 2, "SVM" },
        { 0x80000001, 'c', 11, "XOP" },
        { 0x80000001, 'c', 22, "TOPOEXT" },
        { 0x80000001, 'c', 9, "OSVW" },
        { 0x80000001, 'd', 25, "FFXSR" },
        { 0x80000001, 'd', 26, "1G pages" },
        { 0x80000001, 'd', 27, "RDTSCP" },
    };
    struct cpuid_host all = host_of(0xffffffff);
    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
        struct cpuid_regs r = cpuid_guest(&all, hidden[i].leaf, 0);
        uint32_t v = hidden[i].reg == 'b' ? r.ebx : hidden[i].reg == 'c' ? r.ecx : r.edx;
        check_note("%s", hidden[i].what);
        CHECK_EQ(v >> hidden[i].bit & 1, 0);
    }
}

TEST(cpuid_shows_what_a_64_bit_system_needs)
{
    struct cpuid_host all = host_of(0xffffffff);
    CHECK_EQ(cpuid_guest(&all, 1, 0).edx, 0x078bab7d);
    CHECK_EQ(cpuid_guest(&all, 0x80000001, 0).edx & 0x20100800, 0x20100800);
    CHECK_EQ(cpuid_guest(&all, 7, 0).ebx & 0x00100081, 0x00100081); /* SMAP SMEP FSGSBASE */
    CHECK_EQ(cpuid_guest(&all, 0x80000007, 0).edx, 0x100);
    CHECK(!cpuid_missing(&all));
}

TEST(cpuid_never_shows_more_than_the_host_has)
{
    struct cpuid_host none = host_of(0);
    CHECK_EQ(cpuid_guest(&none, 1, 0).ecx, BIT(24)); /* the local APIC is the VMM's own */
    CHECK_EQ(cpuid_guest(&none, 1, 0).edx, BIT(9));
    CHECK_EQ(cpuid_guest(&none, 7, 0).ebx, 2); /* TSC_ADJUST, which is the VMM's own */
    CHECK_EQ(cpuid_guest(&none, 0x80000001, 0).ecx, 0);
    CHECK_EQ(cpuid_guest(&none, 0x80000001, 0).edx, BIT(9));
    CHECK_STR_EQ(cpuid_missing(&none), "a floating-point unit");
}

TEST(cpuid_missing_names_each_necessity)
{
    static const struct {
        unsigned row, bit;
        const char *text;
    } need[] = { { 0, 4, "a time-stamp counter" }, { 0, 6, "PAE" },      { 0, 26, "SSE2" },  { 2, 20, "NX" },
                 { 2, 29, "long mode" },           { 2, 11, "SYSCALL" }, { 0, 24, "FXSAVE" } };
    for (size_t i = 0; i < sizeof(need) / sizeof(need[0]); i++) {
        struct cpuid_host h = host_of(0xffffffff);
        h.row[need[i].row].edx &= ~(1u << need[i].bit);
        CHECK_STR_EQ(cpuid_missing(&h), need[i].text);
    }
}

TEST(cpuid_is_an_amd_processor_of_family_17)
{
    struct cpuid_host h = host_of(0xffffffff);
    char vendor[13] = "", name[49] = "";
    struct cpuid_regs r = cpuid_guest(&h, 0, 0);
    memcpy(vendor, &r.ebx, 4), memcpy(vendor + 4, &r.edx, 4), memcpy(vendor + 8, &r.ecx, 4);
    CHECK_STR_EQ(vendor, "AuthenticAMD");
    CHECK_EQ(r.eax, 7);
    uint32_t s = cpuid_guest(&h, 1, 0).eax;
    CHECK_EQ((s >> 8 & 15) + (s >> 20 & 255), 17);
    CHECK_EQ(cpuid_guest(&h, 0x80000001, 0).eax, s);
    for (uint32_t i = 0; i < 3; i++) {
        r = cpuid_guest(&h, 0x80000002 + i, 0);
        memcpy(name + i * 16, &r, 16);
    }
    CHECK_STR_EQ(name, "AMD processor (Umbra virtual machine)");
    CHECK_EQ(cpuid_guest(&h, 0x80000008, 0).eax, 0x3028);
    CHECK_EQ(cpuid_guest(&h, 0x80000000, 0).eax, 0x80000008);
    CHECK_EQ(cpuid_guest(&h, 0x80000005, 0).ecx >> 24, 64); /* KiB of L1 data cache */
    CHECK_EQ(cpuid_guest(&h, 0x80000006, 0).ecx >> 16, 512);
}

TEST(cpuid_other_leaves_are_zero)
{
    static const uint32_t leaves[] = { 2,          4,          5,          3,          8,
                                       0xb,        0xd,        0x40000000, 0x80000009, 0x8000000a,
                                       0x8000001e, 0xc0000000, 0xffffffff };
    struct cpuid_host h = host_of(0xffffffff);
    static const struct cpuid_regs zero;
    for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
        struct cpuid_regs r = cpuid_guest(&h, leaves[i], 0);
        check_note("leaf %x", leaves[i]);
        CHECK_MEM_EQ(&r, &zero, sizeof(r));
    }
    struct cpuid_regs r = cpuid_guest(&h, 7, 1);
    CHECK_MEM_EQ(&r, &zero, sizeof(r));
}

TEST(cpuid_shows_a_hypervisor_only_to_a_guest_that_is_told)
{
    struct cpuid_host h = host_of(0xffffffff);
    char name[13] = "";

    CHECK_EQ(cpuid_guest(&h, 1, 0).ecx >> 31, 0);
    CHECK_EQ(cpuid_guest(&h, 0x40000001, 0).eax, 0);
    h.enlighten = 1;
    struct cpuid_regs r = cpuid_guest(&h, 0x40000000, 0);
    memcpy(name, &r.ebx, 12);
    CHECK_STR_EQ(name, "KVMKVMKVM");
    CHECK_EQ(r.eax, 0x40000001);
    CHECK_EQ(cpuid_guest(&h, 0x40000001, 0).eax, BIT(1) | BIT(3) | BIT(24));
    CHECK_EQ(cpuid_guest(&h, 1, 0).ecx >> 31, 1);
    CHECK_EQ(cpuid_guest(&h, 0x40000002, 0).eax, 0);
}

TEST(cpuid_apic_bits_go_with_the_apic)
{
    static const struct {
        uint32_t leaf, eax, ecx, edx;
    } row[] = {
        { 1, 0, BIT(24), BIT(9) }, { 6, BIT(2), 0, 0 }, { 0x80000001, 0, 0, BIT(9) }, { 7, 0, 0, 0 }
    };
    struct cpuid_host h = host_of(0xffffffff);
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct cpuid_regs on = cpuid_guest(&h, row[i].leaf, 0), off = on;
        cpuid_hide_apic(row[i].leaf, &off);
        check_note("leaf %x", row[i].leaf);
        CHECK_EQ(on.eax ^ off.eax, row[i].eax);
        CHECK_EQ(on.ebx ^ off.ebx, 0);
        CHECK_EQ(on.ecx ^ off.ecx, row[i].ecx);
        CHECK_EQ(on.edx ^ off.edx, row[i].edx);
        CHECK_EQ(off.edx & row[i].edx, 0);
    }
}

TEST(cpuid_host_leaves_are_named)
{
    CHECK_EQ(cpuid_host_leaf(0), 1);
    CHECK_EQ(cpuid_host_leaf(1), 7);
    CHECK_EQ(cpuid_host_leaf(2), 0x80000001);
    CHECK_EQ(cpuid_host_leaf(3), 0);
}
