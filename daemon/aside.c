/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/aside.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

struct dmn_aside {
        dmn_aside_work_fn work;
        dmn_aside_done_fn done;
        void *userdata;
        int event_fd;
        int result; /* the thread's, until it is joined */
        sd_event_source *source;
        pthread_t thread;
};

static void *run(void *userdata)
{
        struct dmn_aside *a = userdata;

        a->result = a->work(a->userdata);
        (void)eventfd_write(a->event_fd, 1);
        return NULL;
}

void dmn_aside_finish(struct dmn_aside *a)
{
        const dmn_aside_done_fn done = a->done;
        void *userdata = a->userdata;
        int r;

        (void)pthread_join(a->thread, NULL);
        r = a->result;
        (void)sd_event_source_disable_unref(a->source);
        (void)bth_close(a->event_fd);
        free(a);
        done(userdata, r);
}

static int on_done(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        (void)s;
        (void)fd;
        (void)revents;
        dmn_aside_finish(userdata);
        return 0;
}

int dmn_aside_run(sd_event *loop, dmn_aside_work_fn work, dmn_aside_done_fn done, void *userdata,
                  struct dmn_aside **ret_aside)
{
        struct dmn_aside *a = malloc(sizeof *a);
        int r;

        if (!a)
                return -ENOMEM;
        *a = (struct dmn_aside){ .work = work, .done = done, .userdata = userdata };
        a->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        r = a->event_fd < 0 ? -errno : 0;
        if (r == 0)
                r = sd_event_add_io(loop, &a->source, a->event_fd, EPOLLIN, on_done, a);
        if (r >= 0)
                r = -pthread_create(&a->thread, NULL, run, a);
        if (r == 0) {
                *ret_aside = a;
                return 0;
        }
        (void)sd_event_source_disable_unref(a->source);
        (void)bth_close(a->event_fd);
        free(a);
        return r;
}
