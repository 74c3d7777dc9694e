"""Open-loop traffic: requests are sent when the schedule says so, whether or not answers come.

The engine uses :class:`chaoskit.traffic.generator.TrafficGenerator` with the data types of
:mod:`chaoskit.traffic.spec`; the sending itself happens in a process of its own
(:mod:`chaoskit.traffic.worker`), so that neither pytest nor the GIL disturbs the schedule.
"""
