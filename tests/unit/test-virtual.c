/* SPDX-License-Identifier: GPL-3.0-or-later */
/* virtual - folders as bays: there at start, moved, linked, copied, taken away, one too many. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/str.h"
#include "base/time.h"
#include "hal/virtual.h"
#include "tests/lib/fakesysfs.h"

#define LIMIT_USEC (20 * BTH_USEC_PER_SEC)

struct station {
        struct fake_machine machine; /* its root holds the folders */
        char folders[2][128];
        struct hal_bays bays;
        sd_event *loop;
        struct hal_hotplug *hotplug;
        struct hal_virtual *watcher;
        struct bth_buf heard;
};

static void on_docking(const struct hal_docking *d, void *userdata)
{
        struct station *s = userdata;

        assert_int_equal(bth_buf_add_format(&s->heard, "%s/%s:%s ", d->bay->name,
                                            strrchr(d->node, '/') + 1,
                                            hal_docking_state_to_string(d->state)),
                         0);
}

static void prepare(struct station *s)
{
        static const char *const names[] = { "one", "two" };
        char place[160];

        fake_machine_make(&s->machine);
        fake_text(&s->machine, "bays/one/.keep", "");
        fake_text(&s->machine, "bays/two/.keep", "");
        for (size_t i = 0; i < 2; i++) {
                (void)snprintf(s->folders[i], sizeof s->folders[i], "%s/bays/%s", s->machine.root,
                               names[i]);
                (void)snprintf(place, sizeof place, "directory:%s", s->folders[i]);
                assert_int_equal(hal_bays_add(&s->bays, names[i], place, NULL), 0);
        }
}

static void start(struct station *s)
{
        struct hal_hotplug_options options = { .bays = &s->bays,
                                               .handler = on_docking,
                                               .userdata = s };

        assert_true(sd_event_new(&s->loop) >= 0);
        assert_int_equal(hal_hotplug_new(s->loop, &options, &s->hotplug), 0);
        assert_int_equal(hal_virtual_new(s->hotplug, &s->watcher, NULL), 0);
}

static void stop(struct station *s)
{
        s->watcher = hal_virtual_free(s->watcher);
        s->hotplug = hal_hotplug_free(s->hotplug);
        (void)sd_event_unref(s->loop);
        bth_buf_clear(&s->heard);
}

static void clean(struct station *s)
{
        hal_bays_clear(&s->bays);
        fake_machine_remove(&s->machine);
}

static void wait_for(struct station *s, const char *text)
{
        const uint64_t end = bth_now_monotonic_usec() + LIMIT_USEC;

        while (!s->heard.data || !strstr(s->heard.data, text)) {
                if (bth_now_monotonic_usec() > end)
                        fail_msg("not heard: %s; but: %s", text, s->heard.data);
                assert_true(sd_event_run(s->loop, LIMIT_USEC / 10) >= 0);
        }
}

static void expect(struct station *s, const char *text)
{
        assert_string_equal(s->heard.data ? s->heard.data : "", text);
        bth_buf_clear(&s->heard);
}

static void path_of(const struct station *s, const char *name, char *out)
{
        (void)snprintf(out, 256, "%s/%s", s->machine.root, name);
}

static void move(const struct station *s, const char *from, const char *to)
{
        char a[256], b[256];

        path_of(s, from, a);
        path_of(s, to, b);
        assert_int_equal(rename(a, b), 0);
}

/* One is there at start; it goes to the other bay, and is another docking of the same drive. */
static void test_start_and_move(void **state)
{
        struct station s = { .loop = NULL };
        const struct hal_docking *d;
        uint64_t first;
        int fd;

        prepare(&s);
        fake_text(&s.machine, "bays/one/WD-1.img", "an image");
        start(&s);
        wait_for(&s, "one/WD-1.img:ready");
        expect(&s, "one/WD-1.img:identifying one/WD-1.img:ready ");
        d = hal_hotplug_at(s.hotplug, 0);
        assert_string_equal(d->identity.serial, "WD-1");
        assert_true(d->identity.size_bytes == 8 && d->identity.bus == HAL_BUS_FILE);
        assert_int_equal(hal_docking_open(d, NULL, &fd, NULL), 0);
        close(fd);
        first = d->sequence;
        stop(&s);
        start(&s); /* a restart of the station is no new docking */
        wait_for(&s, "one/WD-1.img:ready");
        assert_true(hal_hotplug_at(s.hotplug, 0)->sequence == first);
        bth_buf_clear(&s.heard);
        move(&s, "bays/one/WD-1.img", "bays/two/WD-1.img");
        wait_for(&s, "two/WD-1.img:ready");
        wait_for(&s, "one/WD-1.img:gone");
        assert_null(hal_hotplug_at(s.hotplug, 1));
        d = hal_hotplug_at(s.hotplug, 0);
        assert_true(d->sequence > first);
        assert_string_equal(d->bay->name, "two");
        stop(&s);
        clean(&s);
}

/* A file that grows is no drive until it is closed; a hidden one never; links are whole at once. */
static void test_ways_in(void **state)
{
        struct station s = { .loop = NULL };
        char a[256], b[256];
        int fd;

        prepare(&s);
        start(&s);
        path_of(&s, "bays/one/A.img", a);
        fd = open(a, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_int_equal(bth_write_full(fd, "half", 4), 0);
        fake_text(&s.machine, "outside.img", "image"); /* something else happens meanwhile */
        path_of(&s, "outside.img", a);
        path_of(&s, "bays/two/B.img", b);
        assert_int_equal(link(a, b), 0);
        wait_for(&s, "two/B.img:ready");
        expect(&s, "two/B.img:identifying two/B.img:ready ");
        assert_int_equal(bth_write_full(fd, " done", 5), 0);
        close(fd);
        wait_for(&s, "one/A.img:ready");
        bth_buf_clear(&s.heard);
        assert_int_equal(unlink(b), 0);
        wait_for(&s, "two/B.img:gone");
        path_of(&s, "bays/two/C.img", b);
        assert_int_equal(symlink(a, b), 0);
        wait_for(&s, "two/C.img:ready");
        bth_buf_clear(&s.heard);
        fake_text(&s.machine, "bays/one/.growing", "x");
        fake_text(&s.machine, "bays/one/folder/inside", "x");
        path_of(&s, "bays/one/A.img", a);
        assert_int_equal(unlink(a), 0);
        wait_for(&s, "one/A.img:gone");
        expect(&s, "one/A.img:gone ");
        stop(&s);
        clean(&s);
}

static void test_one_too_many(void **state)
{
        struct station s = { .loop = NULL };

        prepare(&s);
        fake_text(&s.machine, "bays/one/B.img", "b");
        fake_text(&s.machine, "bays/one/A.img", "a");
        start(&s);
        wait_for(&s, "one/A.img:ready");
        expect(&s, "one/A.img:identifying one/B.img:crowded one/A.img:ready ");
        move(&s, "bays/one/A.img", "A.img");
        wait_for(&s, "one/B.img:ready");
        expect(&s, "one/A.img:gone one/B.img:identifying one/B.img:ready ");
        stop(&s);
        clean(&s);
}

/* Another file takes the name of a docked one: that drive is gone, and its descriptor is refused.
 */
static void test_replaced(void **state)
{
        struct station s = { .loop = NULL };
        struct hal_docking old;
        int fd;

        prepare(&s);
        fake_text(&s.machine, "bays/one/A.img", "old");
        start(&s);
        wait_for(&s, "one/A.img:ready");
        old = *hal_hotplug_at(s.hotplug, 0);
        bth_buf_clear(&s.heard);
        fake_text(&s.machine, "new.img", "other");
        move(&s, "new.img", "bays/one/A.img");
        assert_int_equal(hal_docking_open(&old, NULL, &fd, NULL), -ENODEV);
        wait_for(&s, "one/A.img:ready");
        expect(&s, "one/A.img:gone one/A.img:identifying one/A.img:ready ");
        assert_true(hal_hotplug_at(s.hotplug, 0)->identity.size_bytes == 5);
        /* The folder itself goes: so does what was in it. */
        move(&s, "bays/one", "away");
        wait_for(&s, "one/A.img:gone");
        stop(&s);
        clean(&s);
}

static void test_no_folder(void **state)
{
        struct station s = { .loop = NULL };
        struct hal_hotplug_options options = { .bays = &s.bays, .handler = on_docking };
        struct bth_error e = BTH_ERROR_INIT;

        prepare(&s);
        fake_drop(&s.machine, "bays/two");
        assert_true(sd_event_new(&s.loop) >= 0);
        assert_int_equal(hal_hotplug_new(s.loop, &options, &s.hotplug), 0);
        assert_int_equal(hal_virtual_new(s.hotplug, &s.watcher, &e), -ENOENT);
        assert_string_equal(e.object, s.folders[1]);
        stop(&s);
        clean(&s);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_start_and_move), cmocka_unit_test(test_ways_in),
                cmocka_unit_test(test_one_too_many),   cmocka_unit_test(test_replaced),
                cmocka_unit_test(test_no_folder),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
