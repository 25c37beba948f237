/* SPDX-License-Identifier: GPL-3.0-or-later */
/* thread - see thread.h. */
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "jobs/thread.h"

struct task {
        struct task *next;
        job_task_fn run;
        job_done_fn done;
        void *userdata;
        int r;
        uint64_t last_event;
        struct bth_error error;
};

/* First in, first out; `last` points at where the next one is hung. */
struct queue {
        struct task *first;
        struct task **last;
};

struct job_thread {
        struct job_store *store; /* the thread's */
        int fd;
        pthread_t thread;
        size_t pending;      /* the loop's */
        uint64_t last_event; /* the loop's */
        pthread_mutex_t lock;
        pthread_cond_t work;
        /* under `lock` */
        struct queue waiting, answered;
        bool stop;
};

static void put(struct queue *q, struct task *t)
{
        t->next = NULL;
        *q->last = t;
        q->last = &t->next;
}

static struct task *take(struct queue *q)
{
        struct task *t = q->first;

        if (t) {
                q->first = t->next;
                if (!q->first)
                        q->last = &q->first;
        }
        return t;
}

/* --- the thread --- */

/* Waits for a task; NULL when there is none and none will come. */
static struct task *next_task(struct job_thread *t)
{
        struct task *task;

        (void)pthread_mutex_lock(&t->lock);
        while (!t->waiting.first && !t->stop)
                (void)pthread_cond_wait(&t->work, &t->lock);
        task = take(&t->waiting);
        (void)pthread_mutex_unlock(&t->lock);
        return task;
}

static void answer(struct job_thread *t, struct task *task)
{
        (void)pthread_mutex_lock(&t->lock);
        put(&t->answered, task);
        (void)pthread_mutex_unlock(&t->lock);
        /* Fails only when 2^64 - 2 answers wait. */
        (void)eventfd_write(t->fd, 1);
}

static void *run(void *userdata)
{
        struct job_thread *t = userdata;
        struct task *task;

        while ((task = next_task(t))) {
                task->r = task->run(t->store, task->userdata, &task->error);
                task->last_event = job_store_last_event(t->store);
                answer(t, task);
        }
        return NULL;
}

/* --- the loop --- */

/* Signals are the loop's: the thread is started with all of them blocked. */
static int start(struct job_thread *t)
{
        sigset_t all, before;
        int r;

        (void)sigfillset(&all);
        r = pthread_sigmask(SIG_SETMASK, &all, &before);
        if (r != 0)
                return -r;
        r = pthread_create(&t->thread, NULL, run, t);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
        return -r;
}

int job_thread_new(struct job_store *store, struct job_thread **ret_thread)
{
        struct job_thread *t = calloc(1, sizeof *t);
        int r;

        if (!t)
                return -ENOMEM;
        *t = (struct job_thread){ .store = store,
                                  .lock = PTHREAD_MUTEX_INITIALIZER,
                                  .work = PTHREAD_COND_INITIALIZER };
        t->waiting.last = &t->waiting.first;
        t->answered.last = &t->answered.first;
        t->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        r = t->fd < 0 ? -errno : start(t);
        if (r < 0) {
                (void)bth_close(t->fd);
                free(t);
                return r;
        }
        *ret_thread = t;
        return 0;
}

int job_thread_fd(const struct job_thread *t)
{
        return t->fd;
}

uint64_t job_thread_last_event(const struct job_thread *t)
{
        return t->last_event;
}

size_t job_thread_pending(const struct job_thread *t)
{
        return t->pending;
}

int job_thread_submit(struct job_thread *t, job_task_fn task, job_done_fn done, void *userdata)
{
        struct task *new;

        if (t->pending >= JOB_THREAD_MAX)
                return -EAGAIN;
        new = malloc(sizeof *new);
        if (!new)
                return -ENOMEM;
        *new = (struct task){
                .run = task, .done = done, .userdata = userdata, .error = BTH_ERROR_INIT
        };
        t->pending++;
        (void)pthread_mutex_lock(&t->lock);
        put(&t->waiting, new);
        (void)pthread_cond_signal(&t->work);
        (void)pthread_mutex_unlock(&t->lock);
        return 0;
}

static struct task *next_answer(struct job_thread *t)
{
        struct task *task;

        (void)pthread_mutex_lock(&t->lock);
        task = take(&t->answered);
        (void)pthread_mutex_unlock(&t->lock);
        return task;
}

size_t job_thread_dispatch(struct job_thread *t)
{
        struct task *task;
        eventfd_t count;
        size_t n = 0;

        /* Read before the answers are taken: one that comes now makes it readable again. */
        (void)eventfd_read(t->fd, &count);
        while ((task = next_answer(t))) {
                t->pending--;
                t->last_event = task->last_event;
                n++;
                if (task->done)
                        task->done(task->userdata, task->r, &task->error);
                free(task);
        }
        return n;
}

struct job_thread *job_thread_free(struct job_thread *t)
{
        if (!t)
                return NULL;
        (void)pthread_mutex_lock(&t->lock);
        t->stop = true;
        (void)pthread_cond_signal(&t->work);
        (void)pthread_mutex_unlock(&t->lock);
        (void)pthread_join(t->thread, NULL);
        (void)job_thread_dispatch(t);
        (void)job_store_close(t->store);
        (void)bth_close(t->fd);
        (void)pthread_cond_destroy(&t->work);
        (void)pthread_mutex_destroy(&t->lock);
        free(t);
        return NULL;
}
