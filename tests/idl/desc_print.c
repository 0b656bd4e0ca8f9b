/* SPDX-License-Identifier: BSD-2-Clause */
/* Prints a description with the C reader, one line a record: `OP component name=value ..`, names as in
 * idl/umbra_idl/desc.py. test_idl_description.py compares the lines with what the compiler meant. */
#include "lib/desc/desc.h"
#include <stdio.h>
#include <stdlib.h>

#define N(field)    printf(" " #field "=%llu", (unsigned long long)x->field)
#define TEXT(field) printf(" " #field "=%s", desc_name(&d, x->field))

static struct desc d;

static void print_component(const struct desc_component *x)
{
    TEXT(name), TEXT(module), N(identity), N(priority), N(kind), N(cnode_bits), N(heap_bytes), N(stack_bytes);
    N(image_bytes), N(budget_us), N(period_us), N(fault);
    printf(" config=");
    const uint8_t *config = desc_bytes(&d, x->config);
    for (uint32_t i = 0; i < x->config_bytes; i++)
        printf("%02x", config[i]);
    N(fault_badge);
}

static void print_system(const struct desc_record *r)
{
    if (r->op == DESC_OP_OBJECTS) {
        const struct desc_objects *x = (const void *)r;
        N(group), N(type), N(bits), N(count), TEXT(name);
    } else if (r->op == DESC_OP_IRQ) {
        const struct desc_irq *x = (const void *)r;
        N(group), N(line), N(notification), TEXT(name), N(badge);
    } else if (r->op == DESC_OP_IOPORT) {
        const struct desc_ioport *x = (const void *)r;
        N(group), N(first), N(last), TEXT(name);
    } else if (r->op == DESC_OP_TIMER) {
        const struct desc_timer *x = (const void *)r;
        N(timer), N(notification), N(badge);
    } else if (r->op == DESC_OP_GUEST) {
        const struct desc_guest *x = (const void *)r;
        N(vm), N(vcpu), N(space), N(shadow), N(notification), N(paging), N(owner), TEXT(name), N(pages);
        N(manager), N(client), N(spare), N(config_pages), N(config_line), N(config_line_bytes),
            N(spare_pages);
    }
}

static void print_rest(const struct desc_record *r)
{
    if (r->op == DESC_OP_COMPONENT) {
        print_component((const void *)r);
    } else if (r->op == DESC_OP_CAP) {
        const struct desc_cap *x = (const void *)r;
        N(slot), N(group), N(first), N(count), N(rights), N(badge);
    } else if (r->op == DESC_OP_MAP) {
        const struct desc_map *x = (const void *)r;
        N(group), N(first), N(count), N(rights), N(address);
    } else if (r->op == DESC_OP_VIEW) {
        const struct desc_view *x = (const void *)r;
        N(kind), N(group), N(rights), N(address);
    } else if (r->op == DESC_OP_MODULE) {
        const struct desc_module *x = (const void *)r;
        N(which), TEXT(name), N(address);
    } else if (r->op == DESC_OP_NOTIFY) {
        const struct desc_notify *x = (const void *)r;
        N(notification);
    } else if (r->op == DESC_OP_START) {
        const struct desc_start *x = (const void *)r;
        N(later);
    } else if (r->op == DESC_OP_CONNECTION) {
        const struct desc_connection *x = (const void *)r;
        N(kind), N(to), TEXT(from_port), TEXT(to_port), N(badge);
    }
}

int main(int argc, char **argv)
{
    static uint64_t bytes[1 << 17];
    static const char *const ops[] = { "",    "OBJECTS", "IRQ",  "IOPORT", "TIMER",  "GUEST", "COMPONENT",
                                       "CAP", "MAP",     "VIEW", "MODULE", "NOTIFY", "START", "CONNECTION" };
    static const char *const whys[] = DESC_WHY_NAMES;
    FILE *f = argc == 2 ? fopen(argv[1], "rb") : NULL;
    if (f == NULL)
        return 2;
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    enum desc_why why = desc_open(&d, bytes, n);
    if (why != DESC_OK) {
        printf("refused: %s at record %u\n", whys[why], d.record);
        return 1;
    }
    printf("%s components=%u groups=%u memory=%llu\n", desc_name(&d, d.header.name), d.header.components,
           d.header.groups, (unsigned long long)d.header.memory_bytes);
    for (const struct desc_record *r = desc_next(&d, NULL); r != NULL; r = desc_next(&d, r)) {
        printf("%s %u", ops[r->op], r->component);
        print_system(r);
        print_rest(r);
        printf("\n");
    }
    return 0;
}
