/* SPDX-License-Identifier: BSD-2-Clause */
/* Fuzz target: a line of the management channel, over an init that answers anything its interface allows.
 *
 * Oracles: nothing is read or written behind line and answer; an answer is one line of JSON by a reader of
 * its own, begins as the protocol says, has the request's number, and is the same each time; what init is
 * given keeps the interface's bounds. */
// USES: servers/control/command.c servers/control/json.c servers/control/base64.c
#include "support/fuzz.h"

#include "check.h"
#include "management.h"
#include "servers/control/command.h"
#include "servers/control/json.h"

#include <stdlib.h>
#include <string.h>

/* ---- init ---- */

static const uint8_t *said, *said_end; /* what it answers with, again from the beginning each time */
static struct fuzz_input init;
static uint32_t calls;

static err_t result(void)
{
    static const err_t errors[] = { ERR_OK,    ERR_OK,          ERR_OK,        ERR_OK,
                                    ERR_RANGE, ERR_WRONG_STATE, ERR_NO_MEMORY, ERR_NO_SUPPORT };
    calls++;
    return errors[fuzz_byte(&init) & 7];
}

static void text(char *to, size_t room)
{
    size_t n = fuzz_byte(&init) % room;
    for (size_t i = 0; i < n; i++)
        to[i] = (char)(1 + fuzz_byte(&init) % 255);
    to[n] = 0;
}

err_t management_guest(cptr_t ep, uint32_t number, struct guest_info *info)
{
    (void)ep;
    memset(info, 0, sizeof(*info));
    calls++;
    if (number >= fuzz_byte(&init) % 49u)
        return ERR_RANGE;
    text(info->name, sizeof(info->name));
    info->phase = fuzz_byte(&init) % 8;
    info->answered = fuzz_value(&init);
    info->memory_pages = (uint32_t)fuzz_value(&init);
    info->successor = fuzz_byte(&init) & 1;
    text(info->program, sizeof(info->program));
    text(info->next, sizeof(info->next));
    text(info->ended, sizeof(info->ended));
    return ERR_OK;
}

err_t management_server(cptr_t ep, uint32_t number, struct server_info *info)
{
    (void)ep;
    memset(info, 0, sizeof(*info));
    calls++;
    if (number >= fuzz_byte(&init) % 7u)
        return ERR_RANGE;
    text(info->name, sizeof(info->name));
    info->running = fuzz_byte(&init) & 1;
    info->cpu_us = fuzz_value(&init);
    text(info->why, sizeof(info->why));
    return ERR_OK;
}

err_t management_upload(cptr_t ep, uint32_t number, uint32_t size, uint32_t crc)
{
    (void)ep, (void)number, (void)crc;
    CHECK(size > 0 && size <= UPGRADE_IMAGE_MAX);
    return result();
}

err_t management_piece(cptr_t ep, uint32_t offset, const uint8_t *data, uint32_t data_len)
{
    uint32_t sum = 0;
    (void)ep, (void)offset;
    CHECK_LE(data_len, UPGRADE_PIECE_MAX);
    for (uint32_t i = 0; i < data_len; i++)
        sum += data[i];
    return sum == UINT32_MAX ? ERR_RANGE : result();
}

err_t management_upgraded(cptr_t ep, uint32_t number, upgrade_phase_t *phase, char to[96])
{
    (void)ep, (void)number;
    *phase = fuzz_byte(&init) % 5;
    text(to, 96);
    return result();
}

err_t management_audited(cptr_t ep, uint32_t number, struct audit_info *info)
{
    (void)ep, (void)number;
    memset(info, 0, sizeof(*info));
    info->entries = fuzz_value(&init);
    text(info->first, sizeof(info->first));
    return result();
}

static err_t report(uint8_t to[448], uint32_t *n)
{
    *n = (uint32_t)fuzz_below(&init, 449);
    for (uint32_t i = 0; i < *n; i++)
        to[i] = fuzz_byte(&init);
    return result();
}

err_t management_report(cptr_t ep, uint32_t number, uint32_t offset, uint8_t to[448], uint32_t *to_len)
{
    (void)ep, (void)number, (void)offset;
    return report(to, to_len);
}

err_t management_server_report(cptr_t ep, uint32_t number, uint32_t offset, uint8_t to[448], uint32_t *to_len)
{
    (void)ep, (void)number, (void)offset;
    return report(to, to_len);
}

err_t management_create(cptr_t ep, uint32_t pages, uint32_t percent, const char *name, const char *kernel,
                        const char *initrd, const char *line)
{
    (void)ep, (void)pages;
    CHECK(percent <= 100);
    CHECK(strlen(name) <= 31 && strlen(kernel) <= 31 && strlen(initrd) <= 31 &&
          strlen(line) <= CREATE_LINE_MAX);
    err_t e = result();
    return e == ERR_RANGE ? MANAGEMENT_ERR_NAME : e;
}

err_t management_places(cptr_t ep, struct places_info *info)
{
    (void)ep;
    memset(info, 0xff, sizeof(*info));
    return result();
}

#define BY_NUMBER(name)                                                                                      \
    err_t management_##name(cptr_t ep, uint32_t number)                                                      \
    {                                                                                                        \
        (void)ep, (void)number;                                                                              \
        return result();                                                                                     \
    }
BY_NUMBER(upgrade)
BY_NUMBER(audit)
BY_NUMBER(server_restart)
BY_NUMBER(destroy)

err_t management_act(cptr_t ep, uint32_t number, guest_action_t action)
{
    (void)ep, (void)number;
    CHECK(guest_action_valid(action));
    return result();
}

/* ---- JSON, by a reader of its own ---- */

static const char *skip_string(const char *at)
{
    CHECK_EQ(*at, '"');
    for (at++; *at != '"'; at++) {
        CHECK((unsigned char)*at >= ' ' && (unsigned char)*at < 0x7f);
        if (*at == '\\') {
            at++;
            CHECK(strchr("\"\\/bfnrtu", *at) != NULL);
        }
    }
    return at + 1;
}

static const char *skip_plain(const char *at)
{
    size_t n = strspn(at, "0123456789");
    if (n) {
        CHECK(n == 1 || *at != '0');
        return at + n;
    }
    n = !strncmp(at, "true", 4) ? 4 : 5;
    CHECK(n == 4 || !strncmp(at, "false", 5));
    return at + n;
}

static const char *skip_key(const char *at)
{
    at = skip_string(at);
    CHECK_EQ(*at, ':');
    return at + 1;
}

/* A value in [at ..): brackets are kept on a stack of depth 4. */
static const char *skip_value(const char *at)
{
    char stack[4];
    unsigned depth = 0;

    do {
        if (*at == '{' || *at == '[') {
            CHECK_LT(depth, sizeof(stack));
            stack[depth++] = *at++;
            if (*at != '}' && *at != ']') {
                if (stack[depth - 1] == '{')
                    at = skip_key(at);
                continue;
            }
        } else {
            at = *at == '"' ? skip_string(at) : skip_plain(at);
        }
        while (depth && (*at == '}' || *at == ']'))
            CHECK_EQ(*at++, stack[--depth] == '{' ? '}' : ']');
        if (depth) {
            CHECK_EQ(*at++, ',');
            if (stack[depth - 1] == '{')
                at = skip_key(at);
        }
    } while (depth);
    return at;
}

static void check_answer(const char *answer, size_t n)
{
    CHECK(n > 2 && n <= ANSWER_MAX);
    char *copy = malloc(n + 1);
    memcpy(copy, answer, n);
    copy[n] = 0;
    CHECK_EQ(strlen(copy), n);
    CHECK_EQ(copy[0], '{');
    CHECK(skip_value(copy) == copy + n - 1 && copy[n - 1] == '\n');
    CHECK(strstr(copy, "\"ok\":true") || strstr(copy, "\"ok\":false,\"error\":\""));
    free(copy);
}

/* What is read stands in the line, ends with 0, and says so itself. */
static const char *read_line(const char *line, size_t n, struct json_object *o, char **place)
{
    *place = malloc(n + 1);
    memcpy(*place, line, n);
    const char *wrong = json_read(*place, n, o);
    CHECK(!wrong || o->fields == 0);
    CHECK_LE(o->fields, JSON_FIELDS_MAX);
    for (uint32_t i = 0; i < o->fields; i++) {
        const struct json_field *f = &o->field[i];
        CHECK(f->key >= *place && f->key + strlen(f->key) <= *place + n);
        if (f->kind == JSON_STRING)
            CHECK(f->text >= *place && f->text + f->bytes <= *place + n && strlen(f->text) == f->bytes);
        CHECK(f->kind != JSON_BOOL || f->number <= 1);
    }
    return wrong;
}

static size_t answer(const char *line, size_t n, bool too_long, char *to)
{
    char *exact = malloc(n + 1);
    memcpy(exact, line, n);
    init = (struct fuzz_input){ said, said_end };
    size_t bytes = command_answer(exact, n, too_long, to);
    free(exact);
    return bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const uint8_t *end = memchr(bytes, '\n', size);
    size_t n = end ? (size_t)(end - bytes) : size;
    struct json_object o;
    char *place;

    if (n > LINE_MAX)
        return 0;
    said = end ? end + 1 : bytes + size;
    said_end = bytes + size;
    const char *wrong = read_line((const char *)bytes, n, &o, &place);
    const struct json_field *command = json_find(&o, "command", JSON_STRING),
                            *id = json_find(&o, "id", JSON_NUMBER);
    if (!command || strcmp(command->text, "crash-control")) { /* dies on purpose */
        char *once = malloc(ANSWER_MAX), *twice = malloc(ANSWER_MAX);
        bool too_long = n == LINE_MAX;
        size_t length = answer((const char *)bytes, n, too_long, once);
        check_answer(once, length);
        CHECK_EQ(answer((const char *)bytes, n, too_long, twice), length);
        CHECK_MEM_EQ(once, twice, length);
        uint64_t number = !wrong && id && !too_long ? id->number : 0;
        if (number && !memcmp(once, "{\"id\":", 6))
            CHECK_EQ(strtoull(once + 6, NULL, 10), number);
        CHECK(!wrong || !memcmp(once, "{\"ok\":false", 11));
        free(once);
        free(twice);
    }
    free(place);
    return 0;
}
