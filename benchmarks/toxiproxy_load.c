/* The load for toxiproxy_speed.py, light enough that the proxy is what is measured.
 *
 *   peer                              the upstream; prints its port. A connection whose first byte is 's' is
 *                                     swallowed, any other comes back. 'q' asks for the bytes swallowed so far.
 *   flood   PORT CONNS SECONDS PEER   send as fast as it goes; prints, for each connection, the bytes that had
 *                                     arrived at the peer (its port: PEER) in time, then those it sent in all. Ends
 *                                     when all has arrived: what waits in socket buffers is no throughput, and must
 *                                     not disturb who is measured next.
 *   trips   PORT CONNS SECONDS EVERY  round trips of 64 bytes, one at a time on each connection, the next one
 *                                     EVERY seconds after the last began (0: at once); prints the ns of each
 *   connect PORT CONNS SECONDS        connect, one round trip, close, CONNS at a time; prints the ns of each
 *   hold    PORT CONNS                open connections, one round trip on each; prints how many, holds them until
 *                                     stdin ends, then one more round trip on each; prints how many
 *
 * One number a line. Only what was finished within SECONDS counts.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { TRIP = 64, BUFFER = 256 * 1024, EVENTS = 256, CONNECTIONS = 1000 };

static char buffer[BUFFER];
static struct epoll_event events[EVENTS];

struct connection {
    int fd;
    int connected;
    int64_t began; /* of the round trip under way, 0 for none */
    int64_t next;  /* when the next is due */
    int64_t bytes; /* sent by flood, or swallowed by the peer */
    int64_t run;   /* at the peer: the flood it belongs to; 0 when it is not swallowed */
    struct connection *older;
};

/* How each connection of a flood begins (the rest does not matter), and the question for its bytes. */
struct greeting {
    char what[8]; /* "s" or "q" */
    int64_t run;
};

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void give_up(int done, int count, const char *what) {
    fprintf(stderr, "only %d of %d connections %s\n", done, count, what);
    exit(1);
}

static int64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static void watch(int poll, int fd, uint32_t events, void *what) {
    struct epoll_event event = {.events = events, .data.ptr = what};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event))
        die("epoll_ctl");
}

static void no_delay(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void begin_connecting(struct connection *it, int poll, int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    it->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (it->fd < 0)
        die("socket");
    no_delay(it->fd);
    it->connected = 0;
    it->began = now();
    if (connect(it->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)
        die("connect");
    watch(poll, it->fd, EPOLLOUT, it);
}

static void send_trip(struct connection *it) {
    if (send(it->fd, memset(buffer, 'e', TRIP), TRIP, MSG_NOSIGNAL) != TRIP)
        die("send");
}

/* True when the answer has come. */
static int take_trip(struct connection *it) {
    ssize_t size = recv(it->fd, buffer, TRIP, 0);
    if (size < 0 && errno == EAGAIN)
        return 0;
    if (size != TRIP) { /* 64 bytes are never split on loopback */
        fprintf(stderr, "a round trip ended with %zd bytes: %s\n", size, size < 0 ? strerror(errno) : "closed");
        exit(1);
    }
    return 1;
}

/* The connection is there: watch for answers from now on. */
static void finish_connecting(struct connection *it, int poll) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = it};
    socklen_t length = sizeof errno;
    getsockopt(it->fd, SOL_SOCKET, SO_ERROR, &errno, &length);
    if (errno)
        die("connect");
    it->connected = 1;
    epoll_ctl(poll, EPOLL_CTL_MOD, it->fd, &event);
}

static struct connection *swallowed; /* those that are open, newest first */

/* The bytes of a flood's connections: how many connections are open, then a number for each. */
static void answer_count(int fd, int64_t run) {
    int64_t found[1 + CONNECTIONS] = {0};
    for (struct connection *it = swallowed; it; it = it->older)
        if (it->run == run && found[0] < CONNECTIONS)
            found[++found[0]] = it->bytes;
    if (send(fd, found, (1 + found[0]) * sizeof *found, MSG_NOSIGNAL) < 0)
        die("send");
}

static void forget(struct connection *it) {
    for (struct connection **at = &swallowed; *at; at = &(*at)->older)
        if (*at == it) {
            *at = it->older;
            break;
        }
    close(it->fd);
    free(it);
}

static void serve(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poll = epoll_create1(0);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 4096))
        die("listen");
    getsockname(listener, (struct sockaddr *)&at, &length);
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    struct connection self = {.fd = listener};
    watch(poll, listener, EPOLLIN, &self);
    for (;;) {
        int count = epoll_wait(poll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct connection *it = events[i].data.ptr;
            if (it == &self) {
                int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (fd < 0)
                    continue;
                no_delay(fd);
                it = calloc(1, sizeof *it);
                it->fd = fd;
                watch(poll, fd, EPOLLIN, it);
                continue;
            }
            /* Bytes to be swallowed are not even copied: that is not the proxy's work. */
            ssize_t size = recv(it->fd, buffer, it->run ? 1 << 30 : BUFFER, it->run ? MSG_TRUNC : 0);
            struct greeting *greeting = (struct greeting *)buffer;
            if (size == 0 || (size < 0 && errno != EAGAIN)) {
                forget(it);
            } else if (size > 0 && it->run) {
                it->bytes += size;
            } else if (size > 0 && buffer[0] == 's') {
                it->run = greeting->run;
                it->bytes = size;
                it->older = swallowed;
                swallowed = it;
            } else if (size > 0 && buffer[0] == 'q') {
                answer_count(it->fd, greeting->run);
            } else if (size > 0 && send(it->fd, buffer, size, MSG_NOSIGNAL) < 0) {
                forget(it);
            }
        }
    }
}

/* A round trip on each connection. */
static void trip_all(struct connection *all, int poll, int count) {
    int begun = 0, done = 0;
    while (done < count) {
        for (; begun < count && begun - done < 100; begun++) {
            all[begun].began = now();
            send_trip(&all[begun]);
        }
        int ready = epoll_wait(poll, events, EVENTS, 10000);
        if (ready == 0)
            give_up(done, count, "are served");
        for (int i = 0; i < ready; i++) {
            struct connection *it = events[i].data.ptr;
            if (take_trip(it)) {
                it->began = 0;
                done++;
            }
        }
    }
}

/* Connections, each proven to work. */
static struct connection *open_all(int poll, int port, int count) {
    struct connection *all = calloc(count, sizeof *all);
    for (int i = 0; i < count; i++) {
        begin_connecting(&all[i], poll, port);
        while (!all[i].connected) {
            if (epoll_wait(poll, events, 1, 10000) == 0)
                give_up(i, count, "could be opened");
            finish_connecting(events[0].data.ptr, poll);
        }
    }
    trip_all(all, poll, count);
    return all;
}

static void hold(int poll, int port, int count) {
    struct connection *all = open_all(poll, port, count);
    printf("%d\n", count);
    fflush(stdout);
    while (getchar() != EOF)
        ;
    trip_all(all, poll, count);
    printf("%d\n", count);
}

/* What the peer has swallowed on the connections of this run that are still open: their number, then bytes. */
static int64_t *ask(int fd) {
    static int64_t found[1 + CONNECTIONS];
    struct greeting question = {.what = "q", .run = getpid()};
    if (send(fd, &question, sizeof question, 0) < 0 || recv(fd, found, sizeof *found, MSG_WAITALL) <= 0)
        die("ask the peer");
    if (found[0] && recv(fd, found + 1, found[0] * sizeof *found, MSG_WAITALL) <= 0)
        die("ask the peer");
    return found;
}

static void flood(int poll, int port, int count, int64_t length, int peer) {
    struct connection *all = calloc(count, sizeof *all);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(peer), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int asking = socket(AF_INET, SOCK_STREAM, 0);
    if (count > CONNECTIONS || connect(asking, (struct sockaddr *)&to, sizeof to))
        die("ask the peer");
    struct greeting greeting = {.what = "s", .run = getpid()};
    memcpy(buffer, &greeting, sizeof greeting);
    for (int i = 0; i < count; i++)
        begin_connecting(&all[i], poll, port);
    int64_t until = now() + length;
    while (now() < until) {
        int ready = epoll_wait(poll, events, EVENTS, 1);
        for (int i = 0; i < ready; i++) {
            struct connection *it = events[i].data.ptr;
            ssize_t size = send(it->fd, buffer, BUFFER, MSG_NOSIGNAL);
            if (size < 0 && errno != EAGAIN)
                die("send");
            if (size > 0)
                it->bytes += size;
        }
    }
    int64_t *found = ask(asking);
    for (int i = 0; i < count; i++) /* one that has not come through yet has brought nothing */
        printf("%lld\n", (long long)(i < found[0] ? found[1 + i] : 0));
    for (int i = 0; i < count; i++) {
        close(all[i].fd);
        printf("%lld\n", (long long)all[i].bytes);
    }
    struct timespec pause = {.tv_nsec = 2000000};
    for (int left = 10 * 500; ask(asking)[0] && left; left--)
        nanosleep(&pause, NULL);
}

static void trips(int poll, int port, int count, int64_t length, int64_t every) {
    struct connection *all = open_all(poll, port, count);
    size_t done = 0, room = 1 << 16;
    int64_t *took = malloc(room * sizeof *took), start = now(), until = start + length;
    for (int i = 0; i < count; i++)
        all[i].next = start + (every ? every * i / count : 0);
    int turn = 0; /* connections take turns, so the first that is not due ends the look */
    for (int64_t at = start; at < until; at = now()) {
        for (int looked = 0; looked < count && all[turn].next <= at && !all[turn].began; looked++) {
            struct connection *it = &all[turn];
            it->began = now();
            it->next += every;
            send_trip(it);
            turn = (turn + 1) % count;
        }
        int64_t rest = every ? all[turn].next - at : 1000000;
        struct timespec wait = {.tv_nsec = rest < 0 ? 0 : rest < 1000000 ? rest : 1000000};
        int ready = epoll_pwait2(poll, events, EVENTS, &wait, NULL);
        for (int i = 0; i < ready; i++) {
            struct connection *it = events[i].data.ptr;
            if (!take_trip(it))
                continue;
            if (done == room)
                took = realloc(took, (room *= 2) * sizeof *took);
            at = now();
            took[done++] = at - it->began;
            it->began = 0;
            if (!every && at < until) {
                it->began = at;
                send_trip(it);
            }
        }
    }
    for (size_t i = 0; i < done; i++)
        printf("%lld\n", (long long)took[i]);
}

static void connects(int poll, int port, int count, int64_t length) {
    struct connection *all = calloc(count, sizeof *all);
    int64_t until = now() + length;
    for (int i = 0; i < count; i++)
        begin_connecting(&all[i], poll, port);
    while (now() < until) {
        int ready = epoll_wait(poll, events, EVENTS, 1);
        for (int i = 0; i < ready; i++) {
            struct connection *it = events[i].data.ptr;
            if (!it->connected) {
                finish_connecting(it, poll);
                send_trip(it);
            } else if (take_trip(it)) {
                printf("%lld\n", (long long)(now() - it->began));
                close(it->fd);
                begin_connecting(it, poll, port);
            }
        }
    }
}

int main(int argc, char **argv) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    prctl(PR_SET_TIMERSLACK, 1);
    int poll = epoll_create1(0);
    const char *what = argc > 1 ? argv[1] : "";
    int port = argc > 2 ? atoi(argv[2]) : 0, count = argc > 3 ? atoi(argv[3]) : 0;
    int64_t length = argc > 4 ? atof(argv[4]) * 1e9 : 0, every = argc > 5 ? atof(argv[5]) * 1e9 : 0;
    if (!strcmp(what, "peer"))
        serve();
    else if (!strcmp(what, "flood"))
        flood(poll, port, count, length, argc > 5 ? atoi(argv[5]) : 0);
    else if (!strcmp(what, "trips"))
        trips(poll, port, count, length, every);
    else if (!strcmp(what, "connect"))
        connects(poll, port, count, length);
    else if (!strcmp(what, "hold"))
        hold(poll, port, count);
    return 0;
}
