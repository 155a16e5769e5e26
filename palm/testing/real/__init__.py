"""Scenarios on real processes: the same file, faults, jobs and checks as in the simulator, on ZeroMQ and etcd."""
