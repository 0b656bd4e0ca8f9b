/* SPDX-License-Identifier: BSD-2-Clause */
/* Code that changes: written and executed at once, through one address and through two, across pages, by
 * another process, under other rights, and by exchanging the pages below it. What runs must always be what
 * was written last. */
#pragma once
#include "base.h"
#include "faults.h"

typedef uint32_t (*code_t)(void);

/* mov $value, %eax; ret */
static void write_code(uint8_t *at, uint32_t value)
{
    at[0] = 0xb8;
    memcpy(at + 1, &value, 4);
    at[5] = 0xc3;
}

/* Compilers must not know that the bytes are code; a jump is all the synchronization that one processor
 * needs. */
static uint32_t run_at(const volatile uint8_t *at)
{
    __asm__ volatile("" : : : "memory");
    return ((code_t)(uintptr_t)at)();
}

static void expect_value(const uint8_t *at, uint32_t value, const char *where)
{
    uint32_t found = run_at(at);
    REQUIRE(found == value, "%s: code gave %#x instead of %#x", where, found, value);
}

static void written_in_place(void)
{
    uint8_t *pages = map(2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, 0);

    for (unsigned n = scaled(300); n; n--) {
        uint8_t *at = pages + below(2 * PAGE - 8);
        for (unsigned again = 0; again < 3; again++) {
            uint32_t value = (uint32_t)random64();
            write_code(at, value);
            expect_value(at, value, "in place");
        }
    }
    for (unsigned inside = 1; inside < 6;
         inside++) /* each way to lie across the border, patched on either side */
        for (unsigned n = 0; n < 40; n++) {
            uint8_t *at = pages + PAGE - inside;
            uint32_t value = (uint32_t)random64();
            write_code(at, value);
            expect_value(at, value, "across pages");
            at[4] ^= 0xff;
            expect_value(at, value ^ 0xff000000, "across pages, last byte changed");
            at[1] ^= 0xff;
            expect_value(at, value ^ 0xff0000ff, "across pages, first byte changed");
        }
    munmap(pages, 2 * PAGE);
}

/* The instruction right behind the one that changes it. */
static void changes_its_own_path(void)
{
    uint8_t *page = map(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, 0);

    put_changing_code(page + 64);
    for (unsigned n = scaled(200); n; n--) {
        uint32_t value = (uint32_t)random64(), found;
        __asm__ volatile("" : : : "memory");
        found = ((uint32_t(*)(uint32_t))(page + 64))(value);
        REQUIRE(found == value, "code that changes its own path gave %#x instead of %#x", found, value);
    }
    munmap(page, PAGE);
}

/* One mapping to write, one to execute. */
static void written_through_another_address(void)
{
    int file = anonymous_file(4 * PAGE);
    uint8_t *w = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    uint8_t *x = mmap(NULL, 4 * PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, file, 0);
    struct expected e = {
        .name = "code", .mapped = true, .present = true, .readable = true, .executable = true
    };

    REQUIRE(w != MAP_FAILED && x != MAP_FAILED, "mmap of code: %s", strerror(errno));
    for (unsigned n = scaled(300); n; n--) {
        unsigned at = below(4 * PAGE - 8);
        uint32_t value = (uint32_t)random64();
        write_code(w + at, value);
        expect_value(x + at, value, "other address");
        write_code(w + at, ~value);
        expect_value(x + at, ~value, "other address, again");
    }
    (void)*(volatile uint8_t *)x; /* else few rounds may not have touched it */
    try_access(&accesses[15], &e, (uint64_t)x);
    munmap(w, 4 * PAGE);
    munmap(x, 4 * PAGE);
    close(file);
}

/* Never writable and executable at once, as careful compilers at run time do it. */
static void rights_by_turns(void)
{
    uint8_t *page = map(2 * PAGE, PROT_READ | PROT_WRITE, 0);
    struct expected code = {
        .name = "code", .mapped = true, .present = true, .readable = true, .executable = true
    };
    struct expected data = {
        .name = "data", .mapped = true, .present = true, .readable = true, .writable = true
    };

    for (unsigned n = scaled(100); n; n--) {
        uint32_t value = (uint32_t)random64();
        uint8_t *at = page + PAGE - 3;
        write_code(at, value);
        try_access(&accesses[COUNT(accesses) - 1], &data, (uint64_t)page + PAGE - 3);
        REQUIRE_OK(mprotect(page, 2 * PAGE, PROT_READ | PROT_EXEC));
        expect_value(at, value, "rights by turns");
        try_access(&accesses[15], &code, (uint64_t)page + PAGE - 8);
        REQUIRE_OK(mprotect(page, 2 * PAGE, PROT_READ | PROT_WRITE));
    }
    munmap(page, 2 * PAGE);
}

/* The address stays, the page below it changes. */
static void exchanged_pages(void)
{
    unsigned pages = 8;
    int file = anonymous_file(pages * PAGE);
    uint8_t *w = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0),
            *x = map(PAGE, PROT_NONE, 0);

    REQUIRE(w != MAP_FAILED, "mmap of code: %s", strerror(errno));
    for (unsigned i = 0; i < pages; i++)
        write_code(w + i * PAGE + 16, 0x1000 + i);
    for (unsigned n = scaled(200); n; n--) {
        unsigned i = below(pages);
        REQUIRE(mmap(x, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, file, (off_t)(i * PAGE)) == x,
                "mmap: %s", strerror(errno));
        expect_value(x + 16, 0x1000 + i, "exchanged page");
    }
    munmap(w, pages * PAGE);
    munmap(x, PAGE);
    close(file);
}

/* A child executes what its parent writes, and the other way round. */
static void written_by_another_process(void)
{
    uint8_t *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int to_child[2], to_us[2];
    unsigned turns = scaled(60);

    REQUIRE(shared != MAP_FAILED, "mmap of code: %s", strerror(errno));
    REQUIRE_OK(pipe(to_child));
    REQUIRE_OK(pipe(to_us));
    pid_t pid = spawn();
    for (unsigned i = 0; i < turns; i++) {
        if (!pid) {
            await(to_child[0]);
            expect_value(shared + 32, i, "written by the parent");
            write_code(shared + 32, ~i);
            tell(to_us[1]);
        } else {
            write_code(shared + 32, i);
            tell(to_child[1]);
            await(to_us[0]);
            expect_value(shared + 32, ~i, "written by the child");
        }
    }
    if (!pid)
        _exit(0);
    expect_exit(pid, 0);
    munmap(shared, PAGE);
}

/* After fork, one changes the code: the other's stays. */
static void copied_code(void)
{
    uint8_t *page = map(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, 0);

    for (unsigned n = scaled(10); n; n--) {
        write_code(page, n);
        expect_value(page, n, "before fork");
        pid_t pid = spawn();
        if (!pid) {
            expect_value(page, n, "after fork");
            write_code(page, ~n);
            expect_value(page, ~n, "changed after fork");
            _exit(0);
        }
        expect_exit(pid, 0);
        expect_value(page, n, "parent after fork");
    }
    munmap(page, PAGE);
}

static void part_code(void)
{
    written_in_place();
    changes_its_own_path();
    written_through_another_address();
    rights_by_turns();
    exchanged_pages();
    written_by_another_process();
    copied_code();
}

/* --- jit: random programs, compiled into memory and compared with an interpreter --- */

#define JIT_STEPS 40

static uint8_t *emit(uint8_t *at, const uint8_t *bytes, unsigned count, uint32_t operand)
{
    memcpy(at, bytes, count);
    memcpy(at + count, &operand, 4);
    return at + count + 4;
}

/* One random step: appends its code, returns what it makes of x. */
static uint32_t jit_step(uint8_t **at, uint32_t x)
{
    static const uint8_t add[] = { 0x05 }, exor[] = { 0x35 }, sub[] = { 0x2d }, multiply[] = { 0x69, 0xc0 };
    uint32_t operand = (uint32_t)random64();

    switch (below(5)) {
    case 0:
        *at = emit(*at, add, sizeof(add), operand);
        return x + operand;
    case 1:
        *at = emit(*at, exor, sizeof(exor), operand);
        return x ^ operand;
    case 2:
        *at = emit(*at, sub, sizeof(sub), operand);
        return x - operand;
    case 3:
        *at = emit(*at, multiply, sizeof(multiply), operand);
        return x * operand;
    default:
        memcpy(*at, "\xc1\xc0\x07", 3); /* rol $7, %eax */
        *at += 3;
        return x << 7 | x >> 25;
    }
}

static void part_jit(void)
{
    uint8_t *pages = map(4 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, 0);

    for (unsigned n = scaled(1500); n; n--) {
        uint8_t *begin = pages + below(3 * PAGE), *at = begin;
        uint32_t argument = (uint32_t)random64(), wanted = argument;
        memcpy(at, argument_to_eax, sizeof(argument_to_eax));
        at += sizeof(argument_to_eax);
        for (unsigned step = 0; step < JIT_STEPS; step++)
            wanted = jit_step(&at, wanted);
        *at = 0xc3;
        __asm__ volatile("" : : : "memory");
        uint32_t found = ((uint32_t(*)(uint32_t))begin)(argument);
        REQUIRE(found == wanted, "jit: program %u gave %#x instead of %#x", n, found, wanted);
    }
    munmap(pages, 4 * PAGE);
}
