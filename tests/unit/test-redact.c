/* SPDX-License-Identifier: GPL-3.0-or-later */
/* redact - what is blanked out of a manifest, in each encoding, and that nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "uploader/redact.h"

static const struct {
        const char *text, *shown;
} cases[] = {
        { "", "" },
        { "<a>k</a>", "<a>k</a>" },
        { "<StorageAccountKey>ab=</StorageAccountKey><b>c</b>",
          "<StorageAccountKey>***</StorageAccountKey><b>c</b>" },
        { "<ContainerSas\n a='b'>c?d</ContainerSas>", "<ContainerSas\n a='b'>***</ContainerSas>" },
        { "<x:ContainerSas>s</x:ContainerSas>", "<x:ContainerSas>*</x:ContainerSas>" },
        { "<ContainerSas/><b>c</b>", "<ContainerSas/><b>c</b>" },
        { "<ContainerSas /><b>c</b>", "<ContainerSas /><b>c</b>" },
        { "<ContainerSas><![CDATA[k]]></ContainerSas>",
          "<ContainerSas>*************</ContainerSas>" },
        { "<ContainerSass>k</ContainerSass>", "<ContainerSass>k</ContainerSass>" },
        { "<Container>k</Container>", "<Container>k</Container>" },
        { "<ContainerSas>k", "<ContainerSas>*" },
        { "<ContainerSas>k<", "<ContainerSas>**" },
        { "<ContainerSas", "<ContainerSas" },
        { "<ContainerSas>a</ContainerSas>-<StorageAccountKey>b</StorageAccountKey>",
          "<ContainerSas>*</ContainerSas>-<StorageAccountKey>*</StorageAccountKey>" },
};

/* `text` behind `lead` blanks, a character in `unit` bytes with the low one at `low`; of two bytes,
 * behind a byte order mark. Returns the number of bytes. */
static size_t encode(const char *text, size_t lead, unsigned unit, unsigned low, uint8_t *to)
{
        size_t n = 0;

        if (unit == 2) {
                to[low] = 0xff;
                to[1 - low] = 0xfe;
                n = 2;
        }
        for (size_t i = 0; i < lead + strlen(text); i++) {
                to[n + low] = i < lead ? ' ' : (uint8_t)text[i - lead];
                n += unit;
        }
        return n;
}

static void check(const char *text, const char *shown, size_t lead, unsigned unit, unsigned low)
{
        const size_t room = (lead + strlen(text) + 2) * 2;
        _cleanup_free_ uint8_t *in = calloc(1, room), *want = calloc(1, room),
                               *out = calloc(1, room);
        _cleanup_(bth_source_freep) struct bth_source *below = NULL;
        _cleanup_(bth_source_freep) struct bth_source *source = NULL;
        size_t n;

        assert_true(in && want && out);
        n = encode(text, lead, unit, low, in);
        assert_int_equal(encode(shown, lead, unit, low, want), n);
        assert_int_equal(bth_source_new_memory(in, n, &below), 0);
        assert_int_equal(upl_redact_new(below, &source), 0);
        assert_int_equal(source->size_bytes, n);
        assert_int_equal(bth_source_read(source, 0, out, n), 0);
        assert_memory_equal(out, want, n);
        /* In whatever pieces. */
        for (size_t at = n > 40 ? n - 40 : 0; at < n; at++) {
                assert_int_equal(bth_source_read(source, at, out, 1), 0);
                assert_int_equal(out[0], want[at]);
        }
}

static void test_what_is_shown(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                check(cases[i].text, cases[i].shown, 0, 1, 0);
                check(cases[i].text, cases[i].shown, 0, 2, 0);
                check(cases[i].text, cases[i].shown, 0, 2, 1);
        }
        /* Over the border of what is searched at once. */
        for (size_t lead = (256 << 10) - 60; lead < 256 << 10; lead++) {
                check(cases[2].text, cases[2].shown, lead, 1, 0);
                if (lead % 8 == 0)
                        check(cases[2].text, cases[2].shown, lead / 2, 2, 0);
        }
}

static void test_too_many(void **state)
{
        static const char one[] = "<ContainerSas>k</ContainerSas>";
        char text[sizeof one * (UPL_REDACT_PLACES_MAX + 1)] = "";
        struct bth_source *source = NULL;

        (void)state;
        for (unsigned i = 0; i <= UPL_REDACT_PLACES_MAX; i++) {
                _cleanup_(bth_source_freep) struct bth_source *below = NULL;

                (void)strcat(text, one);
                assert_int_equal(bth_source_new_memory(text, strlen(text), &below), 0);
                assert_int_equal(upl_redact_new(below, &source),
                                 i < UPL_REDACT_PLACES_MAX ? 0 : -E2BIG);
                if (i < UPL_REDACT_PLACES_MAX)
                        source = bth_source_free(source);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_what_is_shown),
                cmocka_unit_test(test_too_many),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
