//! Permits for calls that requests wait for: a total rate, and a smaller one for ids that may be made up.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Permits for calls. Dropping a future of this type before it is ready takes no permit.
pub(super) struct Permits {
    buckets: Mutex<Buckets>,
    returned: Notify,
}

struct Buckets {
    all: Bucket,
    unlisted: Bucket,
}

/// A rate and the permits saved while idle.
struct Bucket {
    /// Pause between two permits at the full rate.
    pause: Duration,
    /// Time for which permits are saved.
    saved: Duration,
    /// Time of the next permit, in the past while permits are saved.
    next: Instant,
}

impl Permits {
    /// Both buckets save `saved` permits while idle.
    pub(super) fn new(all_per_second: u32, unlisted_per_second: u32, saved_unlisted: u32) -> Self {
        Self {
            buckets: Mutex::new(Buckets {
                all: Bucket::new(all_per_second, all_per_second),
                unlisted: Bucket::new(unlisted_per_second, saved_unlisted),
            }),
            returned: Notify::new(),
        }
    }

    /// Waits for a permit; `unlisted` ids need one of the smaller rate, too.
    pub(super) async fn take(&self, unlisted: bool) {
        loop {
            let returned = self.returned.notified();
            let at = {
                let now = Instant::now();
                let Buckets {
                    all,
                    unlisted: smaller,
                } = &mut *self.buckets.lock();
                let at = if unlisted {
                    all.ready_at(now).max(smaller.ready_at(now))
                } else {
                    all.ready_at(now)
                };
                if at <= now {
                    all.take(now);
                    if unlisted {
                        smaller.take(now);
                    }
                    return;
                }
                at
            };
            tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = returned => {}
            }
        }
    }

    /// Returns a permit of the smaller rate: the call found a registered tenant, so the ids are not made up.
    pub(super) fn return_unlisted(&self) {
        {
            let smaller = &mut self.buckets.lock().unlisted;
            smaller.next = smaller
                .next
                .checked_sub(smaller.pause)
                .unwrap_or(smaller.next);
        }
        self.returned.notify_waiters();
    }
}

impl Bucket {
    fn new(per_second: u32, saved: u32) -> Self {
        let pause = Duration::from_secs(1) / per_second;
        let now = Instant::now();
        let saved = pause * saved;
        Self {
            pause,
            saved,
            next: now.checked_sub(saved).unwrap_or(now),
        }
    }

    fn ready_at(&self, now: Instant) -> Instant {
        self.next.max(now.checked_sub(self.saved).unwrap_or(now))
    }

    fn take(&mut self, now: Instant) {
        self.next = self.ready_at(now) + self.pause;
    }
}
