/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes that go through the kernel: pipes and sockets with their flow control, a large file in memory by
 * calls and by mappings. */
#pragma once
#include "base.h"
#include "faults.h"
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* --- pipes --- */

static uint8_t stream_byte(uint64_t stream, uint64_t position)
{
    return (uint8_t)(mix(stream + position / 8) >> position % 8 * 8);
}

static _Noreturn void stream_writer(int out, uint64_t stream, uint64_t bytes)
{
    static uint8_t buffer[20000];

    for (uint64_t at = 0; at < bytes;) {
        uint64_t count = 1 + below(sizeof(buffer));
        if (count > bytes - at)
            count = bytes - at;
        for (uint64_t i = 0; i < count; i++)
            buffer[i] = stream_byte(stream, at + i);
        ssize_t n = write(out, buffer, count);
        REQUIRE(n > 0, "write: %s", strerror(errno));
        at += (uint64_t)n;
    }
    _exit(0);
}

static void stream_reader(int in, uint64_t stream, uint64_t bytes, const char *what)
{
    static uint8_t buffer[20000];

    for (uint64_t at = 0; at < bytes;) {
        ssize_t n = read(in, buffer, 1 + below(sizeof(buffer)));
        REQUIRE(n > 0, "%s ended after %llu of %llu bytes", what, (unsigned long long)at,
                (unsigned long long)bytes);
        for (ssize_t i = 0; i < n; i++)
            REQUIRE(buffer[i] == stream_byte(stream, at + (uint64_t)i), "%s: byte %llu is wrong", what,
                    (unsigned long long)at + (uint64_t)i);
        at += (uint64_t)n;
    }
}

/* Two streams at once, of random pieces, larger than the kernel's buffer. */
static void streams(bool by_socket)
{
    int ends[2][2];
    pid_t pid[2];
    uint64_t bytes = scaled(200000);
    const char *what = by_socket ? "socket" : "pipe";

    for (unsigned i = 0; i < 2; i++) {
        int error = by_socket ? socketpair(AF_UNIX, SOCK_STREAM, 0, ends[i]) : pipe(ends[i]);
        if (error && by_socket && errno == EAFNOSUPPORT)
            return;
        REQUIRE(!error, "%s: %s", what, strerror(errno));
        pid[i] = spawn();
        if (!pid[i])
            stream_writer(ends[i][1], i * 12345 + 1, bytes);
        close(ends[i][1]);
    }
    for (unsigned i = 0; i < 2; i++) {
        stream_reader(ends[i][0], i * 12345 + 1, bytes, what);
        expect_exit(pid[i], 0);
        uint8_t more;
        REQUIRE(read(ends[i][0], &more, 1) == 0, "%s: bytes after the end", what);
        close(ends[i][0]);
    }
}

static void full_and_empty(void)
{
    int ends[2];
    uint8_t block[PAGE] = { 0 };
    unsigned written = 0;

    REQUIRE_OK(pipe2(ends, O_NONBLOCK));
    REQUIRE(read(ends[0], block, 1) == -1 && errno == EAGAIN, "an empty pipe gave something");
    while (write(ends[1], block, sizeof(block)) == (ssize_t)sizeof(block))
        REQUIRE(++written < 10000, "a pipe is never full");
    REQUIRE(errno == EAGAIN && written, "a full pipe: %s", strerror(errno));
    for (unsigned i = 0; i < written; i++)
        REQUIRE(read(ends[0], block, sizeof(block)) == (ssize_t)sizeof(block), "a pipe lost a page");
    close(ends[0]);
    signal(SIGPIPE, SIG_IGN);
    REQUIRE(write(ends[1], block, 1) == -1 && errno == EPIPE, "a pipe without reader took a byte");
    signal(SIGPIPE, SIG_DFL);
    pid_t pid = spawn();
    if (!pid) {
        if (write(ends[1], block, 1) < 0)
            _exit(1);
        _exit(2);
    }
    expect_killed(pid, SIGPIPE);
    close(ends[1]);
}

static void pipe_ping_pong(void)
{
    int there[2], back[2];
    uint64_t value = 0;
    unsigned turns = scaled(500);

    REQUIRE_OK(pipe(there));
    REQUIRE_OK(pipe(back));
    pid_t pid = spawn();
    for (unsigned i = 0; !pid && i < turns; i++) {
        REQUIRE(read(there[0], &value, 8) == 8 && value == mix(i), "ping %u is %#llx", i,
                (unsigned long long)value);
        value = ~value;
        REQUIRE(write(back[1], &value, 8) == 8, "write: %s", strerror(errno));
    }
    if (!pid)
        _exit(0);
    for (unsigned i = 0; i < turns; i++) {
        value = mix(i);
        REQUIRE(write(there[1], &value, 8) == 8, "write: %s", strerror(errno));
        REQUIRE(read(back[0], &value, 8) == 8 && value == ~mix(i), "pong %u is %#llx", i,
                (unsigned long long)value);
    }
    expect_exit(pid, 0);
    for (unsigned i = 0; i < 2; i++) {
        close(there[i]);
        close(back[i]);
    }
}

static void part_pipes(void)
{
    for (unsigned n = scaled(2); n; n--) {
        streams(false);
        streams(true);
        full_and_empty();
    }
    pipe_ping_pong();
}

/* --- file --- */

static void written_by_call_read_by_mapping(int file, unsigned pages)
{
    static uint8_t page[PAGE] __attribute__((aligned(4096)));
    uint8_t *at;

    for (unsigned i = 0; i < pages; i++) {
        fill_page(page, i);
        REQUIRE(pwrite(file, page, PAGE, (off_t)(i * PAGE)) == (ssize_t)PAGE, "pwrite: %s", strerror(errno));
    }
    at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    REQUIRE(at != MAP_FAILED, "mmap of a file: %s", strerror(errno));
    for (unsigned i = 0; i < pages; i++)
        check_page(at + i * PAGE, i, "file, mapped");
    for (unsigned i = 0; i < pages; i += 3)
        fill_page(at + i * PAGE, i + 5000000);
    for (unsigned i = 0; i < pages; i++) {
        REQUIRE(pread(file, page, PAGE, (off_t)(i * PAGE)) == (ssize_t)PAGE, "pread: %s", strerror(errno));
        check_page(page, i % 3 ? i : i + 5000000, "file, read");
    }
    munmap(at, pages * PAGE);
}

/* A private mapping sees the file until it writes, and the file never sees it. */
static void private_mapping(int file, unsigned pages)
{
    uint8_t *own = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    uint8_t *common = mmap(NULL, pages * PAGE, PROT_READ, MAP_SHARED, file, 0);

    REQUIRE(own != MAP_FAILED && common != MAP_FAILED, "mmap of a file: %s", strerror(errno));
    for (unsigned i = 0; i < pages; i += 2)
        stamp_page(own + i * PAGE, i + 7000000);
    for (unsigned i = 0; i < pages; i++) {
        check_page(common + i * PAGE, i % 3 ? i : i + 5000000, "file below a private mapping");
        check_stamp(own + i * PAGE, i % 2 == 0 ? i + 7000000 : i % 3 ? i : i + 5000000, "private mapping");
    }
    munmap(own, pages * PAGE);
    munmap(common, pages * PAGE);
}

static void sparse_and_cut(int file)
{
    uint8_t buffer[64];
    off_t far = (off_t)1 << 33;

    REQUIRE_OK(ftruncate(file, 100));
    REQUIRE(pwrite(file, "end", 3, far) == 3, "pwrite far away: %s", strerror(errno));
    REQUIRE(pread(file, buffer, 64, far - 32) == 35 && !memcmp(buffer + 32, "end", 3), "pread far away");
    for (unsigned i = 0; i < 32; i++)
        REQUIRE(!buffer[i], "a hole is not zero");
    REQUIRE(pread(file, buffer, 64, 1 << 20) == 64, "pread of a hole");
    for (unsigned i = 0; i < 64; i++)
        REQUIRE(!buffer[i], "a hole is not zero");
    REQUIRE_OK(ftruncate(file, 50));
    REQUIRE_OK(ftruncate(file, 200));
    REQUIRE(pread(file, buffer, 64, 50) == 64, "pread after growing");
    for (unsigned i = 0; i < 64; i++)
        REQUIRE(!buffer[i], "what was cut off came back");
}

/* A file with a name: directories, links, rename, copies inside the kernel. */
static void named_files(void)
{
    char folder[] = "/tmp/verify-XXXXXX", a[64], b[64];
    static uint8_t buffer[3 * PAGE];
    struct stat st;

    mkdir("/tmp", 01777);
    REQUIRE(mkdtemp(folder), "mkdtemp: %s", strerror(errno));
    snprintf(a, sizeof(a), "%s/a", folder);
    snprintf(b, sizeof(b), "%s/b", folder);
    int from = open(a, O_CREAT | O_EXCL | O_RDWR, 0600), to = open(b, O_CREAT | O_EXCL | O_RDWR, 0600);
    REQUIRE(from >= 0 && to >= 0, "open: %s", strerror(errno));
    for (unsigned i = 0; i < 3; i++)
        fill_page(buffer + i * PAGE, i);
    REQUIRE(write(from, buffer, sizeof(buffer)) == (ssize_t)sizeof(buffer), "write: %s", strerror(errno));
    off_t begin = 0;
    REQUIRE(sendfile(to, from, &begin, sizeof(buffer)) == (ssize_t)sizeof(buffer), "sendfile: %s",
            strerror(errno));
    memset(buffer, 0, sizeof(buffer));
    REQUIRE(pread(to, buffer, sizeof(buffer), 0) == (ssize_t)sizeof(buffer), "pread: %s", strerror(errno));
    for (unsigned i = 0; i < 3; i++)
        check_page(buffer + i * PAGE, i, "copied by sendfile");
    REQUIRE_OK(rename(b, a));
    REQUIRE(!fstat(from, &st) && st.st_nlink == 0, "a replaced file still has a name");
    REQUIRE(!fstat(to, &st) && st.st_nlink == 1 && st.st_size == (off_t)sizeof(buffer),
            "a renamed file changed");
    REQUIRE(stat(b, &st) == -1 && errno == ENOENT, "the old name is still there");
    REQUIRE_OK(unlink(a));
    REQUIRE_OK(rmdir(folder));
    close(from);
    close(to);
}

static void part_file(void)
{
    unsigned pages = scaled(1500); /* 6 MB */
    int file = anonymous_file(0);

    written_by_call_read_by_mapping(file, pages);
    private_mapping(file, pages);
    sparse_and_cut(file);
    named_files();
    close(file);
}
