/* SPDX-License-Identifier: BSD-2-Clause */
/* See harness.h. No libc. */
#include "harness.h"

#define STACK_BYTES 16384
#define THREADS_MAX 8

struct umbra_bootinfo *boot;
static struct test *tests, **tests_end = &tests;
static const char *failed;
static cptr_t next_slot;
static uint64_t next_address;
static unsigned threads;
static cptr_t parking; /* nobody signals it: threads that are done wait there */
static uint8_t stacks[THREADS_MAX][STACK_BYTES] __attribute__((aligned(16)));

void *memset(void *d, int c, size_t n);
void *memset(void *d, int c, size_t n)
{
    void *r = d;
    __asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
    return r;
}
void *memcpy(void *restrict d, const void *restrict s, size_t n)
{
    void *r = d;
    __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
    return r;
}

int memcmp(const void *a, const void *b, size_t n);
int memcmp(const void *a, const void *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (((const uint8_t *)a)[i] != ((const uint8_t *)b)[i])
            return ((const uint8_t *)a)[i] - ((const uint8_t *)b)[i];
    return 0;
}

void test_register(struct test *t)
{
    *tests_end = t;
    tests_end = &t->next;
}

void print(const char *s)
{
    while (*s) {
        uint64_t w[2] = { 0, 0 };
        unsigned n = 0;
        for (; n < 16 && s[n]; n++)
            w[n / 8] |= (uint64_t)(uint8_t)s[n] << n % 8 * 8;
        sys_invoke3(SLOT_KERNEL, KERNEL_LOG, n, w[0], w[1]);
        s += n;
    }
}

void print_number(const char *before, uint64_t v, const char *after)
{
    char text[24];
    unsigned i = sizeof(text);

    text[--i] = 0;
    do {
        text[--i] = "0123456789abcdef"[v % 16];
        v /= 16;
    } while (v);
    print(before);
    print(text + i);
    print(after);
}

void test_fail(const char *file, int line, const char *what, uint64_t got, uint64_t want)
{
    if (!failed)
        failed = what;
    const char *base = file;
    for (const char *p = file; *p; p++)
        if (*p == '/')
            base = p + 1;
    print("# ");
    print(base);
    print_number(":0x", line, ": ");
    print(what);
    print_number(" is 0x", got, "");
    print_number(", expected 0x", want, "\n");
}

_Noreturn void leave(unsigned status)
{
    sys_invoke3(SLOT_IOPORT, IOPORT_OUT, 0xf4, 1, status);
    for (const char *s = "Shutdown"; *s; s++)
        sys_invoke3(SLOT_IOPORT, IOPORT_OUT, 0x8900, 1, (uint8_t)*s);
    for (;;)
        sys_yield();
}

cptr_t new_slots(unsigned n)
{
    cptr_t s = next_slot;
    next_slot += n;
    return s;
}
cptr_t new_slot(void)
{
    return new_slots(1);
}

cptr_t new_objects(unsigned type, unsigned bits, unsigned n)
{
    cptr_t s = new_slots(n);
    return sys_retype(IPC, TEST_UNTYPED, type, bits, SLOT_CNODE, s, n) == ERR_OK ? s : 0;
}
cptr_t new_object(unsigned type, unsigned bits)
{
    return new_objects(type, bits, 1);
}

cptr_t new_object_of(cptr_t untyped, unsigned type, unsigned bits)
{
    cptr_t s = new_slot();
    return sys_retype(IPC, untyped, type, bits, SLOT_CNODE, s, 1) == ERR_OK ? s : 0;
}

cptr_t map_tables(cptr_t vspace, uint64_t address)
{
    for (unsigned level = 3; level >= 1; level--) {
        cptr_t table = new_object(OBJ_PAGETABLE, 0);
        uint64_t span = 1ul << (12 + 9 * level);
        err_t e = sys_invoke3(table, PAGETABLE_MAP, vspace, address & ~(span - 1), level);
        if (e != ERR_OK && e != ERR_ALREADY_MAPPED)
            return 0;
    }
    return 1;
}

cptr_t map_frame(cptr_t vspace, uint64_t address, unsigned rights)
{
    cptr_t frame = new_object(OBJ_FRAME, FRAME_4K);

    if (!frame || !map_tables(vspace, address))
        return 0;
    return sys_invoke3(frame, FRAME_MAP, vspace, address, rights) == ERR_OK ? frame : 0;
}

cptr_t copy_cap(cptr_t source, unsigned rights)
{
    cptr_t slot = new_slot();
    return sys_invoke3(SLOT_CNODE, CNODE_COPY, slot, source, rights) == ERR_OK ? slot : 0;
}

cptr_t deepest(cptr_t c)
{
    for (unsigned i = 0; i < 100; i++) {
        cptr_t next = copy_cap(c, RIGHT_ALL);
        if (!next)
            return c;
        c = next;
    }
    return 0;
}

err_t delete_cap(cptr_t slot)
{
    return sys_invoke1(SLOT_CNODE, CNODE_DELETE, slot);
}

err_t root_priority(unsigned priority)
{
    return sys_invoke2(SLOT_TCB, TCB_SET_SCHED, SLOT_SCHED, priority);
}

_Noreturn void thread_end(void)
{
    for (;;)
        sys_wait(parking);
}

err_t thread_start(struct thread *t, void (*f)(uint64_t), uint64_t argument)
{
    struct sys_message m = { .tag = TAG(TCB_WRITE_REGS, 6), .w = { (uint64_t)f, t->stack - 8, argument, 0 } };

    *(uint64_t *)(t->stack - 8) = (uint64_t)thread_end;
    IPC->words[4] = IPC->words[5] = 0;
    err_t e = sys_call(t->tcb, &m);
    return e == ERR_OK ? sys_invoke0(t->tcb, TCB_RESUME) : e;
}

bool thread_make(struct thread *t, void (*f)(uint64_t), uint64_t argument, unsigned priority, cptr_t fault)
{
    if (threads == THREADS_MAX)
        return false;
    uint64_t address = next_address += PAGE_BYTES;

    t->stack = (uint64_t)(stacks[threads++] + STACK_BYTES);
    t->tcb = new_object(OBJ_TCB, 0);
    t->sched = new_object(OBJ_SCHED, 0);
    t->buffer_cap = map_frame(SLOT_VSPACE, address, RIGHT_ALL);
    t->buffer = (struct umbra_ipc_buffer *)address;
    return sys_invoke4(t->sched, SCHED_CONFIGURE, SLOT_SCHEDCONTROL, THREAD_TICKS, THREAD_TICKS, 255) ==
               ERR_OK &&
           sys_invoke4(t->tcb, TCB_CONFIGURE, SLOT_CNODE, SLOT_VSPACE, t->buffer_cap, fault) == ERR_OK &&
           sys_invoke2(t->tcb, TCB_SET_SCHED, t->sched, priority) == ERR_OK &&
           (!f || thread_start(t, f, argument) == ERR_OK);
}

uint64_t now(void)
{
    uint32_t lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return lo | (uint64_t)hi << 32;
}

/* The largest untyped gives each test a piece, deleted after it with all that was made of it. */
static cptr_t largest_untyped(void)
{
    unsigned best = 0;
    for (unsigned i = 0; i < boot->untyped_count; i++)
        if (!boot->untyped[i].device && boot->untyped[i].bits > boot->untyped[best].bits)
            best = i;
    return boot->untyped[best].cap;
}

static void run_one(struct test *t, cptr_t from)
{
    failed = NULL;
    next_slot = parking = TEST_UNTYPED + 1;
    next_address = 0x20000000;
    threads = 0;
    err_t e = sys_retype(IPC, from, OBJ_UNTYPED, 26, SLOT_CNODE, TEST_UNTYPED, 1);
    if (e != ERR_OK)
        test_fail("harness", 0, "memory for the test", e, 0);
    else if ((parking = new_object(OBJ_NOTIFICATION, 0)))
        t->run();
    root_priority(255);
    for (cptr_t s = TEST_UNTYPED + 1; s < next_slot; s++) /* also what the untyped is no ancestor of */
        delete_cap(s);
    e = delete_cap(TEST_UNTYPED);
    if (e != ERR_OK && !failed)
        test_fail("harness", 0, "taking the memory back", e, 0);
    print(failed ? "FAIL " : "ok ");
    print(t->name);
    print(failed ? ": " : "\n");
    if (failed) {
        print(failed);
        print("\n");
    }
}

/* `without=1,4` on the command line: these would stop the machine that this is, or hang on it. */
static bool is_left_out(unsigned number)
{
    static const char word[] = "without=";
    const char *line = boot->command_line;

    while (*line && __builtin_memcmp(line, word, sizeof(word) - 1))
        line++;
    for (line += *line ? sizeof(word) - 1 : 0; *line && *line != ' ';) {
        unsigned n = 0;
        for (; *line >= '0' && *line <= '9'; line++)
            n = n * 10 + (unsigned)(*line - '0');
        if (n == number)
            return true;
        line += *line == ',';
        if ((*line < '0' || *line > '9') && *line != ' ')
            break;
    }
    return false;
}

void harness_main(struct umbra_bootinfo *info);
extern void (*__init_array_start[])(void), (*__init_array_end[])(void);

void harness_main(struct umbra_bootinfo *info)
{
    unsigned n = 0;
    char text[8];

    boot = info;
    for (void (**f)(void) = __init_array_start; f != __init_array_end; f++)
        (*f)();
    cptr_t from = largest_untyped();
    for (struct test *t = tests; t; t = t->next)
        if (is_left_out(++n))
            print("FAIL "), print(t->name), print(": left out\n");
        else
            run_one(t, from);
    sys_invoke0(SLOT_KERNEL, KERNEL_ERRORS);
    unsigned i = sizeof(text);
    text[--i] = 0;
    text[--i] = '\n';
    for (unsigned v = n; v || i == sizeof(text) - 2; v /= 10)
        text[--i] = '0' + v % 10;
    print("1..");
    print(text + i);
    leave(0);
}
