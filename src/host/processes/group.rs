//! One group: what it should be, the rooms that it has, and the next step from the one to the other.

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::output::Output;
use super::replica::Wish;
use super::{GroupSpec, GroupStatus, Replica, ReplicaState};

pub(super) struct Group {
    pub(super) spec: GroupSpec,
    /// Grows with every change of `spec`: rooms of another edition are to be replaced.
    pub(super) edition: u64,
    pub(super) count: u32,
    pub(super) rooms: BTreeMap<u64, Occupied>,
    pub(super) version: u64,
    pub(super) output: Output,
}

pub(super) struct Occupied {
    pub(super) replica: Replica,
    pub(super) edition: u64,
    pub(super) wish: watch::Sender<Wish>,
}

impl Group {
    /// The rooms that are not asked to stop, of the group's edition or of others: ready ones first, then old ones.
    fn staying(&self, current: bool) -> Vec<(bool, u64)> {
        let rooms = self.rooms.iter().filter(|(_id, room)| *room.wish.borrow() == Wish::Stay);
        let rooms = rooms.filter(|(_id, room)| (room.edition == self.edition) == current);
        let mut rooms: Vec<_> = rooms.map(|(id, room)| (room.replica.state != ReplicaState::Ready, *id)).collect();
        rooms.sort_unstable();
        rooms
    }

    pub(super) fn stop_all(&self, wish: Wish) {
        for room in self.rooms.values() {
            room.wish.send_replace(wish);
        }
    }

    /// Stops what is above the count and, of older editions, what is not needed any more: those that do not
    /// answer, and a ready one for each ready one of this edition. How many are to be started now.
    pub(super) fn stop_surplus(&self) -> usize {
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        let (current, old) = (self.staying(true), self.staying(false));
        let ready = |rooms: &[(bool, u64)]| rooms.iter().filter(|(not_ready, _id)| !not_ready).count();
        let old_kept = ready(&old).min(count.saturating_sub(ready(&current)));
        let leaving = current.iter().skip(count).chain(old.iter().skip(old_kept));
        for (_not_ready, id) in leaving {
            if let Some(room) = self.rooms.get(id) {
                room.wish.send_replace(Wish::Leave);
            }
        }
        let current = current.len().min(count);
        // While old ones are kept, a quarter more than the count may run.
        let most = count + if old_kept > 0 { count.div_ceil(4) } else { 0 };
        (count - current).min(most.saturating_sub(current + old_kept))
    }

    pub(super) fn status(&self, name: &str) -> GroupStatus {
        GroupStatus {
            group: name.to_owned(),
            spec: self.spec.clone(),
            count: self.count,
            replicas: self
                .rooms
                .values()
                .map(|room| {
                    let mut replica = room.replica.clone();
                    if *room.wish.borrow() != Wish::Stay {
                        // Asked a moment ago: nobody may be sent there any more.
                        replica.state = ReplicaState::Stopping;
                        replica.address = None;
                    }
                    replica
                })
                .collect(),
            version: self.version,
        }
    }
}
