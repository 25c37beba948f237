/* SPDX-License-Identifier: GPL-3.0-or-later */
/* hotplug - dockings from plug to pull: at start and later, pulled at every moment, flapping, two
 * in one bay, empty and duplicate serial numbers; on a machine of files. */
#include <fcntl.h>
#include <pthread.h>
#include <scsi/sg.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include <cmocka.h>

#include "base/str.h"
#include "base/time.h"
#include "hal/hotplug.h"
#include "tests/lib/fakesysfs.h"

#define LIMIT_USEC (20 * BTH_USEC_PER_SEC) /* a state that is waited for comes much sooner */

struct station {
        struct fake_machine machine;
        struct hal_bays bays;
        sd_event *loop;
        struct hal_hotplug *hotplug;
        struct bth_buf heard; /* "node:state[fault] " of every call */
        unsigned n_gone;
        pthread_mutex_t gate; /* a drive does not answer while it is locked */
        pthread_cond_t arrived;
        unsigned n_asked;
};

static void on_docking(const struct hal_docking *d, void *userdata)
{
        struct station *s = userdata;
        const char *slash = strrchr(d->node, '/');

        assert_int_equal(bth_buf_add_format(&s->heard, "%s:%s", slash ? slash + 1 : d->node,
                                            hal_docking_state_to_string(d->state)),
                         0);
        if (d->state == HAL_DOCKING_READY && d->identity.fault != HAL_IDENTITY_FAULT_NONE)
                assert_int_equal(
                        bth_buf_add_format(&s->heard, "[%s]",
                                           hal_identity_fault_to_string(d->identity.fault)),
                        0);
        assert_int_equal(bth_buf_add_string(&s->heard, " "), 0);
        s->n_gone += d->state == HAL_DOCKING_GONE;
}

/* INQUIRY is answered when the test opens the gate. */
static int slow_drive(void *userdata, int fd, unsigned long request, void *argument)
{
        struct station *s = userdata;

        if (request != SG_IO)
                return -ENOTTY;
        pthread_mutex_lock(&s->gate);
        s->n_asked++;
        pthread_cond_broadcast(&s->arrived);
        pthread_mutex_unlock(&s->gate);
        return -EIO;
}

static void start(struct station *s, uint64_t quiet_usec)
{
        struct hal_hotplug_options options = {
                .bays = &s->bays, .handler = on_docking, .userdata = s, .quiet_usec = quiet_usec
        };

        fake_machine_make(&s->machine);
        s->machine.host.ioctl = slow_drive;
        s->machine.host.userdata = s;
        options.host = &s->machine.host;
        assert_int_equal(hal_bays_add(&s->bays, "one", "id-path:pci-1", NULL), 0);
        assert_int_equal(hal_bays_add(&s->bays, "two", "id-path:pci-2", NULL), 0);
        pthread_mutex_init(&s->gate, NULL);
        pthread_cond_init(&s->arrived, NULL);
        assert_true(sd_event_new(&s->loop) >= 0);
        assert_int_equal(hal_hotplug_new(s->loop, &options, &s->hotplug), 0);
}

static void stop(struct station *s)
{
        s->hotplug = hal_hotplug_free(s->hotplug);
        (void)sd_event_unref(s->loop);
        hal_bays_clear(&s->bays);
        bth_buf_clear(&s->heard);
        fake_machine_remove(&s->machine);
}

/* A disk in sysfs with its node; `serial` NULL: it tells none and has to be asked. */
static void plug(struct station *s, unsigned n, const char *serial, uint64_t sequence)
{
        uint8_t page[64] = { 0, 0x80, 0, 0 };
        char place[64], path[128];

        (void)snprintf(place, sizeof place, "devices/pci0/host%u/target/%u:0:0:0", n, n);
        (void)snprintf(path, sizeof path, "sd%c", 'a' + n);
        fake_disk(&s->machine, place, path, makedev(8, 16 * n), 1 << 30, sequence);
        (void)snprintf(path, sizeof path, "%s/scsi_level", place);
        fake_text(&s->machine, path, "6\n");
        if (serial) {
                page[3] = (uint8_t)strlen(serial);
                memcpy(page + 4, serial, strlen(serial));
                (void)snprintf(path, sizeof path, "%s/vpd_pg80", place);
                fake_file(&s->machine, path, page, 4 + strlen(serial));
        }
        (void)snprintf(path, sizeof path, "dev/sd%c", 'a' + n);
        fake_text(&s->machine, path, "node");
}

static void node_of(const struct station *s, unsigned n, char *out)
{
        (void)snprintf(out, 128, "%s/dev/sd%c", s->machine.root, 'a' + n);
}

static void appear(struct station *s, unsigned n, const char *id_path, uint64_t sequence)
{
        struct hal_sighting g = { .sequence = sequence, .device = makedev(8, 16 * n) };
        char node[128];

        node_of(s, n, node);
        g.node = node;
        (void)snprintf(g.where.id_path, sizeof g.where.id_path, "%s", id_path);
        assert_int_equal(hal_hotplug_appear(s->hotplug, &g), 0);
}

static void vanish(struct station *s, unsigned n, uint64_t sequence)
{
        char node[128];

        node_of(s, n, node);
        hal_hotplug_vanish(s->hotplug, node, sequence);
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
        assert_string_equal(s->heard.data, text);
        bth_buf_clear(&s->heard);
}

static void test_dock_and_pull(void **state)
{
        struct station s = { .n_gone = 0 };
        const struct hal_docking *d;
        int fd;

        start(&s, 0);
        plug(&s, 0, "SER-1", 7);
        appear(&s, 0, "pci-1", 7);
        wait_for(&s, "sda:ready");
        appear(&s, 0, "pci-1", 7); /* a change event: nothing new */
        expect(&s, "sda:identifying sda:ready ");
        d = hal_hotplug_in_bay(s.hotplug, &s.bays.bays[0]);
        assert_string_equal(d->identity.serial, "SER-1");
        assert_string_equal(d->bay->name, "one");
        assert_true(d->sequence == 7 && d->identity.diskseq == 7);
        assert_null(hal_hotplug_in_bay(s.hotplug, &s.bays.bays[1]));
        assert_int_equal(hal_docking_open(d, &s.machine.host, &fd, NULL), 0);
        assert_int_equal(fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDONLY);
        close(fd);
        vanish(&s, 0, 6); /* of an earlier docking: too late to count */
        assert_non_null(hal_hotplug_at(s.hotplug, 0));
        vanish(&s, 0, 7);
        vanish(&s, 0, 7);
        expect(&s, "sda:gone ");
        assert_null(hal_hotplug_at(s.hotplug, 0));
        /* The name comes back with another drive, whose removal was not seen. */
        plug(&s, 0, "SER-2", 8);
        appear(&s, 0, "pci-1", 8);
        wait_for(&s, "sda:ready");
        plug(&s, 0, "SER-3", 9);
        appear(&s, 0, "pci-2", 9);
        wait_for(&s, "sda:gone sda:identifying sda:ready");
        d = hal_hotplug_at(s.hotplug, 0);
        assert_string_equal(d->identity.serial, "SER-3");
        assert_string_equal(d->bay->name, "two");
        stop(&s);
}

static void test_no_bay(void **state)
{
        struct station s = { .n_gone = 0 };

        start(&s, 0);
        plug(&s, 0, "SYSTEM-DISK", 1);
        appear(&s, 0, "pci-9", 1);
        expect(&s, "sda:outside ");
        assert_int_equal(s.n_asked, 0); /* it was not even opened */
        assert_string_equal(hal_hotplug_at(s.hotplug, 0)->identity.serial, "SYSTEM-DISK");
        stop(&s);
}

static void test_two_in_a_bay(void **state)
{
        struct station s = { .n_gone = 0 };

        start(&s, 0);
        plug(&s, 0, "A", 1);
        plug(&s, 1, "B", 2);
        appear(&s, 0, "pci-1", 1);
        appear(&s, 1, "pci-1", 2);
        wait_for(&s, "sda:ready");
        expect(&s, "sda:identifying sdb:crowded sda:ready ");
        vanish(&s, 0, 1);
        wait_for(&s, "sdb:ready");
        expect(&s, "sda:gone sdb:identifying sdb:ready ");
        stop(&s);
}

/* The drive goes while its thread waits for it: no result, no leak, and the next docking is its
 * own. */
static void test_pulled_while_identified(void **state)
{
        struct station s = { .n_gone = 0 };

        start(&s, 0);
        plug(&s, 0, NULL, 1);
        pthread_mutex_lock(&s.gate);
        appear(&s, 0, "pci-1", 1);
        expect(&s, "sda:identifying ");
        vanish(&s, 0, 1);
        plug(&s, 0, "NEXT", 2);
        appear(&s, 0, "pci-1", 2);
        pthread_mutex_unlock(&s.gate);
        wait_for(&s, "sda:ready");
        expect(&s, "sda:gone sda:identifying sda:ready ");
        assert_string_equal(hal_hotplug_at(s.hotplug, 0)->identity.serial, "NEXT");
        /* And once more, with the end of the station in the place of the next docking. */
        plug(&s, 1, NULL, 3);
        appear(&s, 1, "pci-2", 3);
        stop(&s);
}

static void test_serials(void **state)
{
        struct station s = { .n_gone = 0 };

        start(&s, 0);
        plug(&s, 0, NULL, 1);
        appear(&s, 0, "pci-1", 1);
        wait_for(&s, "sda:ready");
        expect(&s, "sda:identifying sda:ready[serial-empty] ");
        vanish(&s, 0, 1);
        plug(&s, 0, "SAME", 2);
        appear(&s, 0, "pci-1", 2);
        wait_for(&s, "sda:ready");
        bth_buf_clear(&s.heard);
        plug(&s, 1, "SAME", 3);
        appear(&s, 1, "pci-2", 3);
        wait_for(&s, "sdb:ready");
        expect(&s, "sdb:identifying sda:ready[serial-duplicate] sdb:ready[serial-duplicate] ");
        vanish(&s, 0, 2);
        expect(&s, "sda:gone sdb:ready ");
        stop(&s);
}

/* No node, then one: the next event tries again. A drive without a size is no drive yet. */
static void test_unreadable(void **state)
{
        struct station s = { .n_gone = 0 };

        start(&s, 0);
        plug(&s, 0, "LATE", 1);
        fake_drop(&s.machine, "dev/sda");
        fake_text(&s.machine, "dev/sda/x", ""); /* a folder: opens, and cannot be the drive */
        fake_text(&s.machine, "devices/pci0/host0/target/0:0:0:0/block/sda/size", "0\n");
        appear(&s, 0, "pci-1", 1);
        wait_for(&s, "sda:unreadable");
        assert_int_equal(hal_hotplug_at(s.hotplug, 0)->error.code, -ENOMEDIUM);
        fake_text(&s.machine, "devices/pci0/host0/target/0:0:0:0/block/sda/size", "2048\n");
        bth_buf_clear(&s.heard);
        appear(&s, 0, "pci-1", 1);
        wait_for(&s, "sda:ready");
        expect(&s, "sda:identifying sda:ready ");
        stop(&s);
}

static void test_flapping(void **state)
{
        struct station s = { .n_gone = 0 };
        uint64_t sequence = 0;

        start(&s, 2 * BTH_USEC_PER_SEC);
        plug(&s, 0, "LOOSE", 1);
        for (int i = 0; i < 3; i++) {
                appear(&s, 0, "pci-1", ++sequence);
                vanish(&s, 0, sequence);
        }
        bth_buf_clear(&s.heard);
        appear(&s, 0, "pci-1", ++sequence);
        expect(&s, "sda:flapping ");
        vanish(&s, 0, sequence); /* while it is waited for */
        appear(&s, 0, "pci-1", ++sequence);
        appear(&s, 0, "pci-1", sequence); /* its own change event does not cut the wait short */
        expect(&s, "sda:gone sda:flapping ");
        /* The other bay has manners of its own. */
        plug(&s, 1, "FIRM", 50);
        appear(&s, 1, "pci-2", 50);
        wait_for(&s, "sdb:ready");
        wait_for(&s, "sda:ready");
        vanish(&s, 0, sequence);
        bth_buf_clear(&s.heard);
        appear(&s, 0, "pci-1", ++sequence); /* it has behaved since */
        wait_for(&s, "sda:ready");
        expect(&s, "sda:identifying sda:ready ");
        stop(&s);
}

static void test_look(void **state)
{
        struct station s = { .n_gone = 0 };

        start(&s, 0);
        plug(&s, 0, "A", 1);
        plug(&s, 1, "B", 2);
        appear(&s, 0, "pci-1", 1);
        appear(&s, 1, "pci-2", 2);
        wait_for(&s, "sda:ready");
        wait_for(&s, "sdb:ready");
        bth_buf_clear(&s.heard);
        hal_hotplug_look_begin(s.hotplug, NULL);
        appear(&s, 1, "pci-2", 2);
        hal_hotplug_look_end(s.hotplug, NULL);
        expect(&s, "sda:gone ");
        hal_hotplug_look_begin(s.hotplug, "/srv/bays/1"); /* not about devices */
        hal_hotplug_look_end(s.hotplug, "/srv/bays/1");
        assert_non_null(hal_hotplug_at(s.hotplug, 0));
        stop(&s);
}

static void test_limit(void **state)
{
        struct station s = { .n_gone = 0 };
        struct hal_sighting g = { .sequence = 1 };
        char node[HAL_NODE_MAX + 8];

        start(&s, 0);
        g.node = node;
        for (unsigned i = 0; i < HAL_DOCKINGS_MAX; i++) {
                (void)snprintf(node, sizeof node, "/nowhere/%u", i);
                assert_int_equal(hal_hotplug_appear(s.hotplug, &g), 0);
        }
        (void)snprintf(node, sizeof node, "/nowhere/more");
        assert_int_equal(hal_hotplug_appear(s.hotplug, &g), -ENOSPC);
        hal_hotplug_vanish(s.hotplug, "/nowhere/7", 0);
        memset(node, 'x', sizeof node - 1);
        node[sizeof node - 1] = '\0';
        assert_int_equal(hal_hotplug_appear(s.hotplug, &g), -ENAMETOOLONG);
        stop(&s);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_dock_and_pull),
                cmocka_unit_test(test_no_bay),
                cmocka_unit_test(test_two_in_a_bay),
                cmocka_unit_test(test_pulled_while_identified),
                cmocka_unit_test(test_serials),
                cmocka_unit_test(test_unreadable),
                cmocka_unit_test(test_flapping),
                cmocka_unit_test(test_look),
                cmocka_unit_test(test_limit),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
