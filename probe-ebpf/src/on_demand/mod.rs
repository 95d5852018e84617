//! Programs that are never attached: userspace runs them (`BPF_PROG_TEST_RUN` of a raw tracepoint) to copy
//! kernel state into the window, off every guest's path. They run inside an RCU read section, so a map
//! that is replaced meanwhile stays valid memory.

mod copy_routes;
mod copy_vm;
mod walk_list;
