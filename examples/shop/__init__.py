"""The reference service: three small processes (orders, payments, worker) that chaoskit rehearses on."""
