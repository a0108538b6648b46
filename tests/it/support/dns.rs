//! A name server that answers what it is told to, over UDP and TCP, and counts who asked. It writes its messages by hand
//! (RFC 1035 §4): what reads them shall not test itself.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

pub(crate) const A: u16 = 1;
pub(crate) const CNAME: u16 = 5;
pub(crate) const AAAA: u16 = 28;
pub(crate) const SRV: u16 = 33;

pub(crate) const SERVFAIL: u8 = 2;
pub(crate) const NXDOMAIN: u8 = 3;

/// What a record says.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    Ip(IpAddr),
    Srv {
        priority: u16,
        weight: u16,
        port: u16,
        target: &'static str,
    },
    Cname(&'static str),
}

impl Data {
    fn kind(&self) -> u16 {
        match self {
            Self::Ip(IpAddr::V4(_)) => A,
            Self::Ip(IpAddr::V6(_)) => AAAA,
            Self::Srv { .. } => SRV,
            Self::Cname(_) => CNAME,
        }
    }
}

/// What is wrong with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does not answer.
    Silent,
    /// It answers with this code.
    Code(u8),
}

#[derive(Default)]
struct Zone {
    records: HashMap<String, (u32, Vec<Data>)>,
    fault: Option<Fault>,
    /// What is wrong with one kind of question about one name.
    faults: HashMap<(String, u16), Fault>,
    /// Names of which the addresses come along with the SRV records.
    glue: bool,
    truncates: bool,
    asked: Vec<(String, u16)>,
    over_tcp: usize,
}

/// A running name server.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    _tasks: JoinSet<()>,
}

impl NameServer {
    /// Knows no name.
    pub(crate) async fn start() -> Self {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind");
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().expect("address")).await {
                break (udp, tcp);
            }
        };
        let address = tcp.local_addr().expect("address");
        let zone = Arc::<Mutex<Zone>>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(udp, Arc::clone(&zone)));
        tasks.spawn(serve_tcp(tcp, Arc::clone(&zone)));
        Self {
            address,
            zone,
            _tasks: tasks,
        }
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().expect("zone")
    }

    /// From now on a name has these records and no others.
    pub(crate) fn set(&self, name: &str, ttl: u32, data: &[Data]) {
        self.zone().records.insert(name.to_owned(), (ttl, data.to_vec()));
    }

    /// From now on a name has these addresses and nothing else.
    pub(crate) fn addresses(&self, name: &str, ttl: u32, ips: &[&str]) {
        let data: Vec<Data> = ips.iter().map(|ip| Data::Ip(ip.parse().expect("address"))).collect();
        self.set(name, ttl, &data);
    }

    /// From now on a name does not exist.
    pub(crate) fn remove(&self, name: &str) {
        self.zone().records.remove(name);
    }

    /// Whatever is asked; `None`: nothing is wrong any more.
    pub(crate) fn fails(&self, fault: Option<Fault>) {
        self.zone().fault = fault;
    }

    /// One kind of question about one name.
    pub(crate) fn fails_for(&self, name: &str, kind: u16, fault: Fault) {
        self.zone().faults.insert((name.to_owned(), kind), fault);
    }

    /// Whether addresses of targets come along with SRV records.
    pub(crate) fn adds_glue(&self, glue: bool) {
        self.zone().glue = glue;
    }

    /// Whether answers over UDP are cut off.
    pub(crate) fn truncates(&self, truncates: bool) {
        self.zone().truncates = truncates;
    }

    /// How often this was asked, over UDP or TCP.
    pub(crate) fn asked(&self, name: &str, kind: u16) -> usize {
        self.zone()
            .asked
            .iter()
            .filter(|(asked, of)| asked == name && *of == kind)
            .count()
    }

    /// How many questions came over TCP.
    pub(crate) fn over_tcp(&self) -> usize {
        self.zone().over_tcp
    }
}

async fn serve_udp(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        if let Some(answer) = answer(&buffer[..length], &zone, false) {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, zone: Arc<Mutex<Zone>>) {
    let mut connections = JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        let zone = Arc::clone(&zone);
        connections.spawn(async move {
            while let Ok(length) = stream.read_u16().await {
                let mut question = vec![0; length.into()];
                if stream.read_exact(&mut question).await.is_err() {
                    return;
                }
                if let Some(answer) = answer(&question, &zone, true) {
                    let mut message = u16::try_from(answer.len()).expect("size").to_be_bytes().to_vec();
                    message.extend(answer);
                    let _ = stream.write_all(&message).await;
                }
            }
        });
    }
}

fn answer(question: &[u8], zone: &Mutex<Zone>, tcp: bool) -> Option<Vec<u8>> {
    let (name, end) = read_name(question, 12)?;
    let kind = u16::from_be_bytes(question.get(end..end + 2)?.try_into().ok()?);
    let mut zone = zone.lock().expect("zone");
    zone.asked.push((name.clone(), kind));
    zone.over_tcp += usize::from(tcp);
    let fault = zone.fault.or_else(|| zone.faults.get(&(name.clone(), kind)).copied());
    let truncated = zone.truncates && !tcp;
    let mut answers = Vec::new();
    let mut additionals = Vec::new();
    let code = match fault {
        Some(Fault::Silent) => return None,
        Some(Fault::Code(code)) => code,
        None if truncated => 0,
        None => zone.find(&name, kind, &mut answers, &mut additionals),
    };
    let mut message = question[..2].to_vec();
    // QR, and RD as it was asked; RA.
    message.extend([0x80 | question[2] & 1 | if truncated { 2 } else { 0 }, 0x80 | code]);
    let counts = [1, answers.len(), 0, additionals.len()];
    message.extend(
        counts
            .iter()
            .flat_map(|count| u16::try_from(*count).expect("count").to_be_bytes()),
    );
    message.extend(&question[12..end + 4]);
    for (owner, ttl, data) in answers.iter().chain(&additionals) {
        write_record(&mut message, owner, *ttl, data);
    }
    Some(message)
}

type Records = Vec<(String, u32, Data)>;

impl Zone {
    fn find(&self, name: &str, kind: u16, answers: &mut Records, additionals: &mut Records) -> u8 {
        let Some((ttl, data)) = self.records.get(name) else {
            return NXDOMAIN;
        };
        for data in data {
            if data.kind() == kind || data.kind() == CNAME {
                answers.push((name.to_owned(), *ttl, data.clone()));
            }
            match data {
                Data::Cname(target) if answers.len() < 100 => {
                    self.find(target, kind, answers, additionals);
                }
                Data::Srv { target, .. } if self.glue && kind == SRV => {
                    self.find(target, A, additionals, &mut Vec::new());
                    self.find(target, AAAA, additionals, &mut Vec::new());
                }
                _ => {}
            }
        }
        0
    }
}

/// A name in lower case, and where it ends. Questions are not compressed.
fn read_name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        if length == 0 {
            return Some((labels.join("."), at + 1));
        }
        let label = message.get(at + 1..at + 1 + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += 1 + length;
    }
}

fn write_name(message: &mut Vec<u8>, name: &str) {
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(u8::try_from(label.len()).expect("label"));
        message.extend(label.as_bytes());
    }
    message.push(0);
}

fn write_record(message: &mut Vec<u8>, owner: &str, ttl: u32, data: &Data) {
    let mut bytes = Vec::new();
    match data {
        Data::Ip(IpAddr::V4(ip)) => bytes.extend(ip.octets()),
        Data::Ip(IpAddr::V6(ip)) => bytes.extend(ip.octets()),
        Data::Srv {
            priority,
            weight,
            port,
            target,
        } => {
            bytes.extend(
                [*priority, *weight, *port]
                    .iter()
                    .flat_map(|number| number.to_be_bytes()),
            );
            write_name(&mut bytes, target);
        }
        Data::Cname(target) => write_name(&mut bytes, target),
    }
    write_name(message, owner);
    message.extend(data.kind().to_be_bytes());
    message.extend(1u16.to_be_bytes());
    message.extend(ttl.to_be_bytes());
    message.extend(u16::try_from(bytes.len()).expect("size").to_be_bytes());
    message.extend(bytes);
}
