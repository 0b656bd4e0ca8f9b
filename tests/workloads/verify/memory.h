/* SPDX-License-Identifier: BSD-2-Clause */
/* Contents of memory: a large part of RAM, huge pages, copies on write, many page tables, stacks, shared
 * memory, and the accessed and dirty bits as the kernel reports them. Each page tells which page it is, so
 * swapped frames are found and named. */
#pragma once
#include "base.h"
#include "faults.h"
#include <sys/ipc.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static size_t memory_bytes; /* of part_memory; 0: as much as is sensible */

static uint64_t free_memory(void)
{
    char text[2048], *at;
    int file = open("/proc/meminfo", O_RDONLY);
    ssize_t n = file < 0 ? -1 : read(file, text, sizeof(text) - 1);

    REQUIRE(n > 0, "cannot read /proc/meminfo");
    close(file);
    text[n] = 0;
    at = strstr(text, "MemAvailable:");
    REQUIRE(at, "/proc/meminfo has no MemAvailable");
    return strtoull(at + 13, NULL, 10) << 10;
}

/* --- memory: most of RAM, written in one order, read in another --- */

static void shuffle(uint32_t *order, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        order[i] = i;
    for (unsigned i = count; i > 1; i--) {
        unsigned j = below(i);
        uint32_t other = order[j];
        order[j] = order[i - 1];
        order[i - 1] = other;
    }
}

/* Independent of check_page: a sum over all words, kept up to date by the model. */
static uint64_t page_sum(uint64_t stamp)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < PAGE_WORDS; i++)
        sum += page_word(stamp, i);
    return sum;
}

static uint64_t sum_of(const uint8_t *memory, size_t bytes)
{
    const volatile uint64_t *word = (const volatile uint64_t *)memory;
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes / 8; i++)
        sum += word[i];
    return sum;
}

static void part_memory(void)
{
    uint64_t available = free_memory() / 8 * 5, most = 96ul << 20, wanted = 0;
    size_t bytes = memory_bytes ? memory_bytes
                                : (size_t)((available < most ? available : most) * (scale < 1 ? scale : 1));
    unsigned pages = (unsigned)(bytes / PAGE) | 1;
    uint8_t *memory = map(pages * PAGE, PROT_READ | PROT_WRITE, MAP_NORESERVE);
    uint32_t *order = map(pages * 4ul, PROT_READ | PROT_WRITE, 0);

    madvise(memory, pages * PAGE, MADV_NOHUGEPAGE);
    shuffle(order, pages);
    for (unsigned i = 0; i < pages; i++)
        fill_page(memory + order[i] * PAGE, order[i]);
    for (unsigned i = 0; i < pages; i++)
        check_page(memory + i * PAGE, i, "memory");
    for (unsigned i = 0; i < pages; i++) /* every fifth page changes */
        if (order[i] % 5 == 0)
            fill_page(memory + order[i] * PAGE, order[i] + pages);
    for (unsigned i = 0; i < pages; i++)
        wanted += page_sum(i % 5 ? i : i + pages);
    uint64_t found = sum_of(memory, pages * PAGE);
    REQUIRE(found == wanted, "memory: the sum of %u pages is %#llx instead of %#llx", pages,
            (unsigned long long)found, (unsigned long long)wanted);
    for (unsigned i = 0; i < pages; i++)
        check_stamp(memory + order[i] * PAGE, order[i] % 5 ? order[i] : order[i] + pages, "memory, changed");
}

/* --- huge: 2 MB pages where the kernel gives them, cut and moved --- */

static void huge_region(uint8_t *memory, unsigned pages)
{
    for (unsigned i = 0; i < pages; i++)
        stamp_page(memory + i * PAGE, i);
    for (unsigned i = 0; i < pages; i++)
        check_stamp(memory + i * PAGE, i, "huge");
    for (unsigned i = 0; i < pages; i += 97) { /* cut: a hole of rights in each piece */
        struct expected e = { .name = "huge, cut", .mapped = true, .present = true, .readable = true };
        REQUIRE_OK(mprotect(memory + i * PAGE, PAGE, PROT_READ));
        try_access(&accesses[15], &e, (uint64_t)memory + i * PAGE + 8);
        try_access(&accesses[3], &e, (uint64_t)memory + i * PAGE);
    }
    for (unsigned i = 0; i < pages; i++)
        check_stamp(memory + i * PAGE, i, "huge, cut");
    for (unsigned i = 0; i < pages; i += 97)
        REQUIRE_OK(mprotect(memory + i * PAGE, PAGE, PROT_READ | PROT_WRITE));
}

static void huge_after_fork(uint8_t *memory, unsigned pages)
{
    pid_t pid = spawn();

    if (!pid) {
        for (unsigned i = 0; i < pages; i += 7)
            stamp_page(memory + i * PAGE, i + 100000ul);
        for (unsigned i = 0; i < pages; i++)
            check_stamp(memory + i * PAGE, i % 7 ? i : i + 100000ul, "huge, child");
        _exit(4);
    }
    expect_exit(pid, 4);
    for (unsigned i = 0; i < pages; i++)
        check_stamp(memory + i * PAGE, i, "huge, parent");
}

static void huge_moved(uint8_t *memory, unsigned pages)
{
    uint8_t *target = map_aligned(pages * PAGE, PROT_NONE, MAP_NORESERVE);

    REQUIRE(mremap(memory, pages * PAGE, pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target,
            "mremap: %s", strerror(errno));
    for (unsigned i = 0; i < pages; i++)
        check_stamp(target + i * PAGE, i, "huge, moved");
    REQUIRE(faulting(access_read1, (uint64_t)memory), "huge: the old place is still mapped");
    REQUIRE_OK(madvise(target + HUGE / 2, HUGE, MADV_DONTNEED));
    for (unsigned i = 0; i < pages; i++) {
        bool gone = i >= 256 && i < 768;
        if (gone)
            check_zero(target + i * PAGE, "huge, dropped");
        else
            check_stamp(target + i * PAGE, i, "huge, beside dropped");
    }
    munmap(target, pages * PAGE);
}

/* Has the kernel large pages of this size? Tables of two levels have some of 4 MB. */
static bool large_pages_are(size_t bytes)
{
    char line[128];
    unsigned long kib = 0;
    FILE *file = fopen("/proc/meminfo", "r");

    while (file && fgets(line, sizeof(line), file))
        if (!strncmp(line, "Hugepagesize:", 13))
            kib = strtoul(line + 13, NULL, 10);
    if (file)
        fclose(file);
    return kib << 10 == bytes;
}

/* Pages that the administrator set aside; only where the machine is ours. */
static void huge_set_aside(void)
{
    int file = is_init && large_pages_are(HUGE) ? open("/proc/sys/vm/nr_hugepages", O_WRONLY) : -1;

    if (file < 0)
        return;
    REQUIRE_OK(write(file, "4", 1));
    uint8_t *memory =
        mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    if (memory != MAP_FAILED) { /* little or scattered memory may leave none */
        for (unsigned i = 0; i < 1024; i++)
            stamp_page(memory + i * PAGE, i);
        huge_after_fork(memory, 512);
        REQUIRE_OK(mprotect(memory, HUGE, PROT_READ));
        struct expected e = { .name = "set aside", .mapped = true, .present = true, .readable = true };
        try_access(&accesses[15], &e, (uint64_t)memory + 12345 * 8);
        check_stamp(memory + 1023 * PAGE, 1023, "set aside");
        munmap(memory, 2 * HUGE);
    }
    REQUIRE_OK(pwrite(file, "0", 1, 0));
    close(file);
}

static void part_huge(void)
{
    for (unsigned n = scaled(1); n; n--) {
        unsigned pages = 4 * 512;
        uint8_t *memory = map_aligned(pages * PAGE, PROT_READ | PROT_WRITE, 0);
        madvise(memory, pages * PAGE, MADV_HUGEPAGE);
        huge_region(memory, pages);
        huge_after_fork(memory, pages);
        huge_moved(memory, pages);
    }
    huge_set_aside();
}

/* --- cow: after fork each process has its own view, whoever writes first --- */

#define COW_PAGES 64

struct view {
    uint64_t stamp[COW_PAGES];
};

static void check_view(const uint8_t *pages, const struct view *v, const char *where)
{
    for (unsigned i = 0; i < COW_PAGES; i++)
        check_page(pages + i * PAGE, v->stamp[i], where);
}

static void change_view(uint8_t *pages, struct view *v)
{
    for (unsigned n = 0; n < COW_PAGES / 2; n++) {
        unsigned i = below(COW_PAGES);
        fill_page(pages + i * PAGE, v->stamp[i] = random64() >> 16);
    }
}

/* Parent and child write by turns and look at everything after each. */
static _Noreturn void cow_child(uint8_t *pages, struct view v, int in, int out, unsigned turns)
{
    random_state ^= 0x5555;
    for (unsigned turn = 0; turn < turns; turn++) {
        await(in);
        check_view(pages, &v, "copy on write, child");
        change_view(pages, &v);
        tell(out);
    }
    _exit(0);
}

static void cow_turns(uint8_t *pages, struct view *v, bool child_first)
{
    int to_child[2], to_us[2];
    unsigned turns = 3;

    REQUIRE_OK(pipe(to_child));
    REQUIRE_OK(pipe(to_us));
    pid_t pid = spawn();
    if (!pid)
        cow_child(pages, *v, to_child[0], to_us[1], turns);
    if (!child_first)
        change_view(pages, v);
    for (unsigned turn = 0; turn < turns; turn++) {
        tell(to_child[1]);
        await(to_us[0]);
        check_view(pages, v, "copy on write, parent");
        change_view(pages, v);
    }
    expect_exit(pid, 0);
    check_view(pages, v, "copy on write, alone again");
    for (unsigned i = 0; i < 2; i++) {
        close(to_child[i]);
        close(to_us[i]);
    }
}

/* A line of generations, each of which changes some pages; all look again when the last is there. */
static void cow_generations(uint8_t *pages, struct view v, unsigned left)
{
    change_view(pages, &v);
    if (!left)
        return;
    pid_t pid = spawn();
    if (!pid) {
        random_state += left;
        check_view(pages, &v, "copy on write, new generation");
        cow_generations(pages, v, left - 1);
        _exit(left);
    }
    expect_exit(pid, (int)left);
    check_view(pages, &v, "copy on write, old generation");
}

static void part_cow(void)
{
    uint8_t *pages = map(COW_PAGES * PAGE, PROT_READ | PROT_WRITE, 0);
    struct view v;

    for (unsigned i = 0; i < COW_PAGES; i++)
        fill_page(pages + i * PAGE, v.stamp[i] = i);
    for (unsigned n = scaled(4); n; n--) {
        cow_turns(pages, &v, n & 1);
        pid_t pid = spawn();
        if (!pid) {
            cow_generations(pages, v, 6);
            _exit(6);
        }
        expect_exit(pid, 6);
        check_view(pages, &v, "copy on write, first generation");
    }
}

/* --- sparse: single pages far apart, so that page tables are many and come and go --- */

static void part_sparse(void)
{
    static const unsigned counts[] = { 120, 120, 60 };

    for (unsigned n = scaled(3); n; n--)
        for (unsigned s = 0; s < COUNT(sparse_strides); s++) {
            uint8_t *base = (uint8_t *)(uintptr_t)sparse_base();
            for (unsigned i = 0; i < counts[s]; i++) {
                uint8_t *page = base + i * sparse_strides[s];
                REQUIRE(mmap(page, PAGE, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == page,
                        "sparse: mmap at %p: %s", (void *)page, strerror(errno));
                stamp_page(page, i);
            }
            pid_t pid = spawn();
            for (unsigned i = 0; i < counts[s]; i++) {
                check_stamp(base + i * sparse_strides[s], i, "sparse");
                stamp_page(base + i * sparse_strides[s], i + (pid ? 1000 : 2000));
            }
            for (unsigned i = 0; i < counts[s]; i++)
                check_stamp(base + i * sparse_strides[s], i + (pid ? 1000 : 2000), "sparse, changed");
            if (!pid)
                _exit(9);
            expect_exit(pid, 9);
            for (unsigned i = 0; i < counts[s]; i++)
                REQUIRE_OK(munmap(base + i * sparse_strides[s], PAGE));
            REQUIRE(faulting(access_read8, (uint64_t)base + sparse_strides[s]),
                    "sparse: unmapped page still there");
        }
}

/* --- advise: pages that are given back come back as zeroes --- */

static void dropped_pages_are_zero(void)
{
    uint8_t *pages = map(64 * PAGE, PROT_READ | PROT_WRITE, 0);

    for (unsigned n = scaled(8); n; n--) {
        unsigned first = below(64), count = 1 + below(64 - first);
        for (unsigned i = 0; i < 64; i++)
            fill_page(pages + i * PAGE, i + 64 * n);
        REQUIRE_OK(madvise(pages + first * PAGE, count * PAGE, MADV_DONTNEED));
        for (unsigned i = 0; i < 64; i++) {
            if (i - first < count)
                check_zero(pages + i * PAGE, "dropped");
            else
                check_page(pages + i * PAGE, i + 64 * n, "beside dropped");
        }
    }
    munmap(pages, 64 * PAGE);
}

/* Pages that were only read are all the same zero page, until one is written. */
static void zero_page_is_never_written(void)
{
    unsigned count = 256;
    uint8_t *pages = map(count * PAGE, PROT_READ | PROT_WRITE, 0);

    for (unsigned i = 0; i < count; i++)
        REQUIRE(pages[i * PAGE + below(PAGE)] == 0, "a new page is not zero");
    for (unsigned i = 0; i < count; i += 3)
        stamp_page(pages + i * PAGE, i);
    for (unsigned i = 0; i < count; i++) {
        if (i % 3)
            REQUIRE(*(uint64_t *)(pages + i * PAGE) == 0 && *(uint64_t *)(pages + i * PAGE + 2040) == 0,
                    "a write reached the zero page");
        else
            check_stamp(pages + i * PAGE, i, "after the zero page");
    }
    munmap(pages, count * PAGE);
}

static void removed_shared_pages_are_zero(void)
{
    int file = anonymous_file(16 * PAGE);
    uint8_t *a = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    uint8_t *b = mmap(NULL, 16 * PAGE, PROT_READ, MAP_SHARED, file, 0);

    REQUIRE(a != MAP_FAILED && b != MAP_FAILED, "mmap of a file: %s", strerror(errno));
    for (unsigned i = 0; i < 16; i++)
        fill_page(a + i * PAGE, i);
    for (unsigned i = 0; i < 16; i++)
        check_page(b + i * PAGE, i, "second mapping");
    REQUIRE_OK(madvise(a + 4 * PAGE, 8 * PAGE, MADV_REMOVE));
    for (unsigned i = 0; i < 16; i++) {
        if (i >= 4 && i < 12)
            check_zero(b + i * PAGE, "removed");
        else
            check_page(b + i * PAGE, i, "beside removed");
    }
    munmap(a, 16 * PAGE);
    munmap(b, 16 * PAGE);
    close(file);
}

static void mincore_tells_what_is_there(void)
{
    int file = anonymous_file(32 * PAGE);
    uint8_t *a = mmap(NULL, 32 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    unsigned char there[32];

    REQUIRE(a != MAP_FAILED, "mmap of a file: %s", strerror(errno));
    for (unsigned i = 0; i < 32; i += 5)
        stamp_page(a + i * PAGE, i);
    REQUIRE_OK(mincore(a, 32 * PAGE, there));
    for (unsigned i = 0; i < 32; i++)
        REQUIRE((there[i] & 1) == (i % 5 == 0), "mincore says %d of page %u", there[i], i);
    munmap(a, 32 * PAGE);
    close(file);
}

static void part_advise(void)
{
    dropped_pages_are_zero();
    for (unsigned n = scaled(3); n; n--) {
        zero_page_is_never_written();
        removed_shared_pages_are_zero();
        mincore_tells_what_is_there();
    }
}

/* --- stack: grows by faults, ends by a fault --- */

__attribute__((noinline)) static uint64_t dig(unsigned frames)
{
    volatile uint64_t frame[1024]; /* two pages */

    frame[0] = frames;
    frame[1023] = ~(uint64_t)frames;
    uint64_t sum = frames ? dig(frames - 1) : 0;
    REQUIRE(frame[0] == frames && frame[1023] == ~(uint64_t)frames, "stack frame %u was overwritten", frames);
    return sum + frame[0];
}

static uint64_t stack_found;

static void dig_for_ever(uint64_t unused)
{
    (void)unused;
    stack_found = dig(1u << 30);
}

static void part_stack(void)
{
    const struct rlimit limit = { 24ul << 20, 24ul << 20 };
    unsigned frames = 2500 < scaled(1200) ? 2500 : scaled(1200); /* 8 KB each */

    REQUIRE_OK(setrlimit(RLIMIT_STACK, &limit));
    uint64_t sum = dig(frames);
    REQUIRE(sum == frames * (frames + 1ul) / 2, "sum over the stack is %llu", (unsigned long long)sum);
    pid_t pid = spawn();
    if (!pid) {
        sum = dig(frames + 100);
        _exit(sum == (frames + 100) * (frames + 101ul) / 2 ? 2 : 3);
    }
    expect_exit(pid, 2);
    pid = spawn();
    if (!pid) {
        uint64_t here = (uint64_t)__builtin_frame_address(0);
        REQUIRE(faulting(dig_for_ever, 0), "an endless stack did not fault");
        REQUIRE(fault.number == SIGSEGV && fault.trap == TRAP_NO_PF && here - fault.address > (20ul << 20) &&
                    here - fault.address < (26ul << 20) && (fault.error & ERR_W),
                "stack overflow: signal %d error %#llx address %#llx, stack at %#llx", fault.number,
                (unsigned long long)fault.error, (unsigned long long)fault.address, (unsigned long long)here);
        _exit(6);
    }
    expect_exit(pid, 6);
}

/* --- bits: the accessed and dirty bits that the processor sets, as the kernel tells them --- */

/* The value in kB of a field of the mapping that begins at an address, from /proc/self/smaps; -1 without the
 * field. */
static long smaps(const void *start, const char *field)
{
    char line[512], head[32];
    bool inside = false;
    long value = -1;
    FILE *file = fopen("/proc/self/smaps", "r");

    if (!file)
        absent("no /proc/self/smaps");
    snprintf(head, sizeof(head), "%lx-", (unsigned long)start);
    while (value < 0 && fgets(line, sizeof(line), file)) {
        if (line[0] >= 'A' && line[0] <= 'Z')
            value = inside && !strncmp(line, field, strlen(field)) ? atol(line + strlen(field) + 1) : -1;
        else
            inside = !strncmp(line, head, strlen(head));
    }
    fclose(file);
    return value;
}

/* The kernel clears the bits in the tables only; taking rights away and giving them back makes it flush as
 * well. */
static void clear_references(uint8_t *pages, size_t bytes)
{
    int file = open("/proc/self/clear_refs", O_WRONLY);

    if (file < 0)
        absent("no /proc/self/clear_refs");
    REQUIRE_OK(write(file, "1", 1));
    close(file);
    REQUIRE_OK(mprotect(pages, bytes, PROT_READ));
    REQUIRE_OK(mprotect(pages, bytes, PROT_READ | PROT_WRITE));
}

static void expect_smaps(const void *start, const char *field, long pages, const char *when)
{
    long found = smaps(start, field);
    REQUIRE(found == pages * 4, "%s: %s %ld kB instead of %ld", when, field, found, pages * 4);
}

static void accessed_bits(bool by_write)
{
    unsigned count = 64, touched = 0;
    uint8_t *pages =
        (uint8_t *)map((count + 2) * PAGE, PROT_NONE, 0) + PAGE; /* one mapping, whatever lies beside it */

    REQUIRE_OK(mprotect(pages, count * PAGE, PROT_READ | PROT_WRITE));

    madvise(pages, count * PAGE, MADV_NOHUGEPAGE);
    for (unsigned i = 0; i < count; i++)
        stamp_page(pages + i * PAGE, i);
    expect_smaps(pages, "Referenced:", count, "after the first writes");
    for (unsigned round = 0; round < 4; round++) {
        clear_references(pages, count * PAGE);
        expect_smaps(pages, "Referenced:", 0, "after clearing");
        touched = 0;
        for (unsigned i = 0; i < count; i++)
            if (below(3) == 0) {
                touched++;
                if (by_write)
                    pages[i * PAGE + 100] = 1;
                else
                    check_stamp(pages + i * PAGE, i, "bits");
            }
        expect_smaps(pages, "Referenced:", touched, by_write ? "after writes" : "after reads");
    }
    munmap(pages - PAGE, (count + 2) * PAGE);
}

/* A shared page of a file without storage is writable from its first read on: only the processor's dirty bit
 * tells a write. */
static void dirty_bits(void)
{
    unsigned count = 64, written = 0;
    uint8_t *pages = map_shared(count * PAGE);

    madvise(pages, count * PAGE, MADV_NOHUGEPAGE);
    for (unsigned i = 0; i < count; i++)
        check_zero(pages + i * PAGE, "bits");
    long before = smaps(pages, "Private_Dirty:");
    for (unsigned i = 0; i < count; i++)
        if (below(2)) {
            written++;
            pages[i * PAGE + 8] = 1;
        }
    long after = smaps(pages, "Private_Dirty:");
    REQUIRE(before == 0 && after == (long)written * 4, "%u pages written, dirty before %ld kB, after %ld kB",
            written, before, after);
    munmap(pages, count * PAGE);
}

static void part_bits(void)
{
    for (unsigned n = scaled(2); n; n--) {
        accessed_bits(false);
        accessed_bits(true);
        dirty_bits();
    }
}

/* --- shared: the same frames at several addresses and in several processes --- */

static void counters_add_up(void)
{
    volatile uint64_t *shared = map_shared(4 * PAGE);
    unsigned each = scaled(4000), children = 6;
    pid_t pid[6];

    for (unsigned c = 0; c < children; c++) {
        pid[c] = spawn();
        if (!pid[c]) {
            for (unsigned i = 0; i < each; i++) {
                __atomic_fetch_add(&shared[(i % 4) * PAGE_WORDS], 1, __ATOMIC_SEQ_CST);
                shared[(i % 4) * PAGE_WORDS + 8 + c] += c + 1;
                if (i % 500 == 0)
                    sched_yield();
            }
            _exit((int)c);
        }
    }
    for (unsigned c = 0; c < children; c++)
        expect_exit(pid[c], (int)c);
    uint64_t sum = 0;
    for (unsigned p = 0; p < 4; p++)
        sum += shared[p * PAGE_WORDS];
    REQUIRE(sum == (uint64_t)each * children, "shared counters: %llu of %llu", (unsigned long long)sum,
            (unsigned long long)each * children);
    for (unsigned c = 0; c < children; c++) {
        sum = 0;
        for (unsigned p = 0; p < 4; p++)
            sum += shared[p * PAGE_WORDS + 8 + c];
        REQUIRE(sum == (uint64_t)each * (c + 1), "shared slot %u: %llu", c, (unsigned long long)sum);
    }
    munmap((void *)shared, 4 * PAGE);
}

/* System V: two attachments here, one in a child. */
static void segment_is_one(void)
{
    int id = shmget(IPC_PRIVATE, 8 * PAGE, IPC_CREAT | 0600);

    if (id < 0 && errno == ENOSYS)
        return;
    REQUIRE_OK(id);
    uint8_t *a = shmat(id, NULL, 0), *b = shmat(id, NULL, SHM_RDONLY);
    shmctl(id, IPC_RMID, NULL);
    REQUIRE(a != (void *)-1 && b != (void *)-1, "shmat: %s", strerror(errno));
    pid_t pid = spawn();
    if (!pid) {
        for (unsigned i = 0; i < 8; i++)
            fill_page(a + i * PAGE, i + 50);
        _exit(1);
    }
    expect_exit(pid, 1);
    for (unsigned i = 0; i < 8; i++)
        check_page(b + i * PAGE, i + 50, "shared segment");
    REQUIRE(faulting(access_write8, (uint64_t)b) && (fault.error & ERR_W) && fault.code == SEGV_ACCERR,
            "a read-only attachment was written");
    REQUIRE_OK(shmdt(a));
    REQUIRE_OK(shmdt(b));
    REQUIRE(faulting(access_read8, (uint64_t)a), "a detached segment is still there");
}

static void semaphores_take_turns(void)
{
    int id = semget(IPC_PRIVATE, 2, IPC_CREAT | 0600);
    volatile unsigned *turn = map_shared(PAGE);

    if (id < 0 && errno == ENOSYS)
        return;
    REQUIRE_OK(id);
    pid_t pid = spawn();
    struct sembuf take = { .sem_num = (unsigned short)!pid, .sem_op = -1 };
    struct sembuf give = { .sem_num = (unsigned short)!!pid, .sem_op = 1 };
    for (unsigned i = 0; i < 40; i++) {
        if (pid)
            REQUIRE_OK(semop(id, &give, 1));
        REQUIRE_OK(semop(id, &take, 1));
        REQUIRE(*turn == (pid ? 2 * i + 1 : 2 * i), "semaphores: turn %u is %u", i, *turn);
        ++*turn;
        if (!pid)
            REQUIRE_OK(semop(id, &give, 1));
    }
    if (!pid)
        _exit(0);
    expect_exit(pid, 0);
    semctl(id, 0, IPC_RMID);
    munmap((void *)turn, PAGE);
}

/* One page of a file at many addresses, in two processes. */
static void many_mappings_of_one_page(void)
{
    int file = anonymous_file(PAGE);
    uint8_t *at[24];

    for (unsigned i = 0; i < COUNT(at); i++) {
        at[i] = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        REQUIRE(at[i] != MAP_FAILED, "mmap of a file: %s", strerror(errno));
    }
    for (unsigned i = 0; i < COUNT(at); i++) {
        fill_page(at[i], i);
        for (unsigned j = 0; j < COUNT(at); j++)
            check_stamp(at[j], i, "many mappings");
    }
    pid_t pid = spawn();
    if (!pid) {
        fill_page(at[3], 77);
        _exit(1);
    }
    expect_exit(pid, 1);
    for (unsigned j = 0; j < COUNT(at); j++) {
        check_page(at[j], 77, "many mappings, after the child");
        munmap(at[j], PAGE);
    }
    close(file);
}

static void part_shared(void)
{
    counters_add_up();
    for (unsigned n = scaled(4); n; n--) {
        segment_is_one();
        semaphores_take_turns();
        many_mappings_of_one_page();
    }
}
