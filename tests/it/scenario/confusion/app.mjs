// An application of Express: what is below /admin is for few. Prints its port.
import express from 'express';

const app = express();
app.use('/admin', (request, response) => response.send(`ADMIN ${request.originalUrl}`));
app.use('/public', (request, response) => response.send(`public ${request.originalUrl}`));
app.use((request, response) => response.send(`open ${request.originalUrl}`));
const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port));
