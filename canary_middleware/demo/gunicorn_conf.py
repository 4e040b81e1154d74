"""What gunicorn is told beside its command line: nothing but itself, and no file of its own.

Versions that know no control socket pass over the setting, which a command line option would not.
"""

control_socket_disable = True
