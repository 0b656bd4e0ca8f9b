/* SPDX-License-Identifier: BSD-2-Clause */
/* What the management channel reads and prints: nothing that a client sends is read or written behind its
 * end. */
// USES: servers/control/json.c servers/control/base64.c
#include "check.h"
#include "servers/control/base64.h"
#include "servers/control/json.h"
#include <stdlib.h>
#include <string.h>

/* The line in memory of exactly its size, so that the sanitizer sees every step too far. */
static const char *read_line(const char *text, size_t n, struct json_object *o, char **line)
{
    *line = malloc(n + 1);
    memcpy(*line, text, n);
    return json_read(*line, n, o);
}

static const char *wrong(const char *text)
{
    struct json_object o;
    char *line;
    const char *why = read_line(text, strlen(text), &o, &line);

    free(line);
    return why;
}

TEST(fields_are_found_by_name_and_kind)
{
    static const char text[] =
        " {\"command\" : \"pause\",\"id\":18446744073709551615, \"now\":true,\"no\":false,\"z\":0}\r";
    struct json_object o;
    char *line;

    CHECK(read_line(text, sizeof(text) - 1, &o, &line) == NULL);
    CHECK_EQ(o.fields, 5);
    CHECK(strcmp(json_find(&o, "command", JSON_STRING)->text, "pause") == 0);
    CHECK_EQ(json_find(&o, "id", JSON_NUMBER)->number, UINT64_MAX);
    CHECK_EQ(json_find(&o, "now", JSON_BOOL)->number, 1);
    CHECK_EQ(json_find(&o, "no", JSON_BOOL)->number, 0);
    CHECK_EQ(json_find(&o, "z", JSON_NUMBER)->number, 0);
    CHECK(!json_find(&o, "id", JSON_STRING));
    CHECK(!json_find(&o, "absent", JSON_NUMBER));
    free(line);
}

TEST(escapes_become_what_they_mean)
{
    static const char text[] = "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e4\\u20AC\xc3\xbc\"}";
    struct json_object o;
    char *line;

    CHECK(read_line(text, sizeof(text) - 1, &o, &line) == NULL);
    const struct json_field *f = json_find(&o, "a", JSON_STRING);
    CHECK(strcmp(f->text, "\"\\/\b\f\n\r\tA\xc3\xa4\xe2\x82\xac\xc3\xbc") == 0);
    CHECK_EQ(f->bytes, strlen(f->text));
    free(line);
}

TEST(nonsense_is_refused)
{
    static const char *const lines[] = {
        "",
        " ",
        "{",
        "}",
        "[]",
        "null",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1",
        "{\"a\":1,}",
        "{\"a\":1 \"b\":2}",
        "{a:1}",
        "{\"a\":1}{",
        "{\"a\":-1}",
        "{\"a\":1.5}",
        "{\"a\":1e3}",
        "{\"a\":01}",
        "{\"a\":18446744073709551616}",
        "{\"a\":null}",
        "{\"a\":{}}",
        "{\"a\":[1]}",
        "{\"a\":tru}",
        "{\"a\":\"x}",
        "{\"a\":\"\\q\"}",
        "{\"a\":\"\\\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\u0000\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\",
        "{\"a\":\"\n\"}",
        "{\"a\":1,\"a\":2}",
        "{\"\":\"",
        "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9}",
    };

    for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        if (!wrong(lines[i]))
            CHECK(lines[i] == NULL); /* shows which */
}

TEST(any_bytes_are_survived)
{
    static const char *const seeds[] = {
        "{\"id\":17,\"command\":\"pause\",\"guest\":\"vmm0\"}",
        "{\"a\":\"\\u0041\\n\\\"\\\\\",\"b\":true,\"c\":184467440737095516}"
    };
    static const char likely[] = "{}[]\",:\\u0123456789abcdeftrnl \t\r\n\x80\xff";
    unsigned state = 1;

    for (unsigned turn = 0; turn < 200000; turn++) {
        char text[96];
        const char *seed = seeds[turn % 2];
        size_t n = strlen(seed);

        memcpy(text, seed, n);
        for (unsigned k = 0; k < 1 + turn % 5; k++) {
            state = state * 1103515245 + 12345;
            unsigned at = (state >> 8) % n;
            if (state >> 29 & 1)
                text[at] = likely[(state >> 16) % (sizeof(likely) - 1)];
            else
                text[at] = (char)(state >> 20);
        }
        struct json_object o;
        char *line;
        const char *why = read_line(text, (state >> 4) % (n + 1), &o, &line);
        CHECK(why == NULL || o.fields == 0);
        for (uint32_t i = 0; i < o.fields; i++)
            CHECK(o.field[i].kind != JSON_STRING || strlen(o.field[i].text) == o.field[i].bytes);
        free(line);
    }
}

static size_t print(char *to, size_t room, bool *full)
{
    struct json_out j = { .to = to, .room = room };

    json_open(&j, NULL, '{');
    json_number(&j, "id", UINT64_MAX);
    json_bool(&j, "ok", true);
    json_open(&j, "list", '[');
    json_text(&j, NULL, "a\"\\\n\x01\xff");
    json_open(&j, NULL, '{');
    json_close(&j, '}');
    json_close(&j, ']');
    json_number(&j, "z", 0);
    json_close(&j, '}');
    json_end(&j);
    *full = j.full;
    return j.used;
}

TEST(printing_stops_at_the_end_of_the_buffer)
{
    static const char all[] = "{\"id\":18446744073709551615,\"ok\":true,\"list\":["
                              "\"a\\\"\\\\\\u000a\\u0001\\u00ff\",{}],\"z\":0}\n";
    bool full;

    for (size_t room = 0; room < sizeof(all) + 4; room++) {
        char *to = malloc(room + 1);
        size_t n = print(to, room, &full);
        CHECK_EQ(full, room < sizeof(all) - 1);
        CHECK_EQ(n, full ? room : sizeof(all) - 1);
        CHECK(memcmp(to, all, n) == 0);
        free(to);
    }
}

static const char *base64(const char *text, uint32_t room)
{
    static char found[64];
    uint8_t *to = malloc(room + 1);
    uint32_t n;
    bool ok = base64_read(text, (uint32_t)strlen(text), to, room, &n);

    CHECK(!ok || n <= room);
    memcpy(found, to, ok ? n : 0);
    found[ok ? n : 0] = 0;
    free(to);
    return ok ? found : NULL;
}

TEST(base64_means_what_the_standard_says)
{
    static const char *const pairs[][2] = { { "", "" },
                                            { "Zg==", "f" },
                                            { "Zm8=", "fo" },
                                            { "Zm9v", "foo" },
                                            { "Zm9vYg==", "foob" },
                                            { "Zm9vYmE=", "fooba" },
                                            { "Zm9vYmFy", "foobar" },
                                            { "+/+/", "\xfb\xff\xbf" } };
    static const char *const wrong[] = { "Z",    "Zg",   "Zg=",   "Zg===", "====",     "=Zg=",   "Z===",
                                         "Zh==", "Zm9=", "Zm9v=", "Zm 9",  "Zg==Zg==", "Zm9\xff" };

    for (unsigned i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        uint32_t n = (uint32_t)strlen(pairs[i][1]);
        CHECK(base64(pairs[i][0], n) && strcmp(base64(pairs[i][0], n), pairs[i][1]) == 0);
        CHECK(n == 0 || !base64(pairs[i][0], n - 1));
    }
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        if (base64(wrong[i], 60))
            CHECK(wrong[i] == NULL); /* shows which */
}
